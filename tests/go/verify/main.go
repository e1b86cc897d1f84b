// Command verify checks a Trace log with Go's own sumdb packages, which share no code with
// Gristmill.
//
//	verify DIR VKEY [OLD_SIZE...]   the whole log below DIR, and that it extends the older sizes
//	verify receipt FILE VKEY        one tlog-proof whose extra data holds the entry
//
// VKEY is a verifier key or a file that holds one. Checkpoints kept as DIR/checkpoints/<size>, with
// leading zeros or without, are opened and checked too. Prints "ok SIZE ROOT" (for a receipt
// "ok SIZE ROOT INDEX"), or the reason on standard error with exit code 1.
//
// It needs the Debian packages golang-go and golang-golang-x-mod-dev and no network:
//
//	GO111MODULE=off GOPATH=/usr/share/gocode GOFLAGS= go run tests/go/verify/main.go DIR VKEY
package main

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/ioutil"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

const tileHeight = 8
const tileWidth = 1 << tileHeight

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(args []string) error {
	if len(args) == 3 && args[0] == "receipt" {
		return checkReceipt(args[1], args[2])
	}
	if len(args) < 2 {
		return errors.New("usage: verify DIR VKEY [OLD_SIZE...] | verify receipt FILE VKEY")
	}
	return checkLog(args[0], args[1], args[2:])
}

// newVerifier takes a verifier key or the name of a file that holds one.
func newVerifier(key string) (note.Verifier, error) {
	if data, err := ioutil.ReadFile(key); err == nil {
		key = strings.TrimSuffix(string(data), "\n")
	}
	return note.NewVerifier(key)
}

// openCheckpoint opens a signed checkpoint: origin, size and root, one line each.
// tlog.ParseTree cannot be used because it accepts Go's own origin only.
func openCheckpoint(msg []byte, v note.Verifier) (tlog.Tree, error) {
	n, err := note.Open(msg, note.VerifierList(v))
	if err != nil {
		return tlog.Tree{}, err
	}
	lines := strings.Split(n.Text, "\n")
	if len(lines) != 4 || lines[3] != "" {
		return tlog.Tree{}, errors.New("checkpoint does not have three lines")
	}
	if lines[0] != v.Name() {
		return tlog.Tree{}, fmt.Errorf("checkpoint origin %q is not %q", lines[0], v.Name())
	}
	size, err := strconv.ParseInt(lines[1], 10, 64)
	if err != nil || size < 0 || strconv.FormatInt(size, 10) != lines[1] {
		return tlog.Tree{}, fmt.Errorf("checkpoint size %q", lines[1])
	}
	root, err := tlog.ParseHash(lines[2])
	if err != nil {
		return tlog.Tree{}, err
	}
	return tlog.Tree{N: size, Hash: root}, nil
}

// storage reads hash tiles below dir; its paths are those of x/mod without the height.
type storage struct{ dir string }

func (s storage) Height() int { return tileHeight }

func (s storage) SaveTiles([]tlog.Tile, [][]byte) {}

func (s storage) ReadTiles(tiles []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, t := range tiles {
		data, err := s.read(t, strings.Replace(t.Path(), "tile/8/", "tile/", 1))
		if err != nil {
			return nil, err
		}
		want := t.W * tlog.HashSize
		if len(data) < want {
			return nil, fmt.Errorf("%s: %d bytes, expected %d", t.Path(), len(data), want)
		}
		all = append(all, data[:want])
	}
	return all, nil
}

// read reads a tile, or the full tile if a partial one was deleted.
func (s storage) read(t tlog.Tile, path string) ([]byte, error) {
	data, err := ioutil.ReadFile(filepath.Join(s.dir, path))
	if os.IsNotExist(err) && t.W < tileWidth {
		full := strings.Split(path, ".p/")[0]
		return ioutil.ReadFile(filepath.Join(s.dir, full))
	}
	return data, err
}

// bundle reads the entries of bundle n in a log of size entries.
func (s storage) bundle(n, size int64) ([][]byte, error) {
	width := size - n*tileWidth
	if width > tileWidth {
		width = tileWidth
	}
	t := tlog.Tile{H: tileHeight, L: -1, N: n, W: int(width)}
	path := strings.Replace(t.Path(), "tile/8/data/", "tile/entries/", 1)
	data, err := s.read(t, path)
	if err != nil {
		return nil, err
	}
	var entries [][]byte
	for int64(len(entries)) < width {
		if len(data) < 2 {
			return nil, fmt.Errorf("%s: ends after %d entries", path, len(entries))
		}
		length := int(binary.BigEndian.Uint16(data))
		data = data[2:]
		if len(data) < length {
			return nil, fmt.Errorf("%s: ends within entry %d", path, len(entries))
		}
		entries = append(entries, data[:length])
		data = data[length:]
	}
	return entries, nil
}

func checkLog(dir, key string, older []string) error {
	v, err := newVerifier(key)
	if err != nil {
		return fmt.Errorf("verifier key: %v", err)
	}
	msg, err := ioutil.ReadFile(filepath.Join(dir, "checkpoint"))
	if err != nil {
		return err
	}
	tree, err := openCheckpoint(msg, v)
	if err != nil {
		return fmt.Errorf("checkpoint: %v", err)
	}
	s := storage{dir}

	// All hashes, derived from the entries alone.
	var stored []tlog.Hash
	derived := tlog.HashReaderFunc(func(indexes []int64) ([]tlog.Hash, error) {
		var out []tlog.Hash
		for _, i := range indexes {
			if i >= int64(len(stored)) {
				return nil, fmt.Errorf("no hash %d", i)
			}
			out = append(out, stored[i])
		}
		return out, nil
	})
	for n := int64(0); n*tileWidth < tree.N; n++ {
		entries, err := s.bundle(n, tree.N)
		if err != nil {
			return err
		}
		for i, entry := range entries {
			hashes, err := tlog.StoredHashes(n*tileWidth+int64(i), entry, derived)
			if err != nil {
				return err
			}
			stored = append(stored, hashes...)
		}
	}
	if tree.N == 0 {
		if tree.Hash.String() != "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=" {
			return errors.New("root of the empty log is wrong")
		}
		fmt.Println("ok", tree.N, tree.Hash)
		return nil
	}
	root, err := tlog.TreeHash(tree.N, derived)
	if err != nil {
		return err
	}
	if root != tree.Hash {
		return fmt.Errorf("entries have root %v, the checkpoint has %v", root, tree.Hash)
	}
	if err := checkTiles(s, tree.N, derived); err != nil {
		return err
	}
	// From here on through the stored tiles, which TileHashReader checks against the root.
	tiles := tlog.TileHashReader(tree, s)
	if err := checkRecords(tree, tiles, derived); err != nil {
		return err
	}
	if err := checkOlder(dir, v, tree, tiles, derived, older); err != nil {
		return err
	}
	fmt.Println("ok", tree.N, tree.Hash)
	return nil
}

// checkTiles compares every stored hash tile with the one that the entries give.
func checkTiles(s storage, size int64, derived tlog.HashReader) error {
	for _, t := range tlog.NewTiles(tileHeight, 0, size) {
		// Older versions of NewTiles list a partial tile in all its widths.
		width := size>>uint(tileHeight*t.L) - t.N*tileWidth
		if t.W < tileWidth && int64(t.W) != width {
			continue
		}
		want, err := tlog.ReadTileData(t, derived)
		if err != nil {
			return err
		}
		got, err := s.ReadTiles([]tlog.Tile{t})
		if err != nil {
			return err
		}
		if !bytes.Equal(got[0], want) {
			return fmt.Errorf("%s: not the hashes of the entries", t.Path())
		}
	}
	return nil
}

// checkRecords proves some entries through the stored tiles.
func checkRecords(tree tlog.Tree, tiles, derived tlog.HashReader) error {
	for _, n := range []int64{0, 1, 255, 256, tree.N / 3, tree.N / 2, tree.N - 2, tree.N - 1} {
		if n < 0 || n >= tree.N {
			continue
		}
		proof, err := tlog.ProveRecord(tree.N, n, tiles)
		if err != nil {
			return fmt.Errorf("proof of entry %d: %v", n, err)
		}
		leaf, err := derived.ReadHashes([]int64{tlog.StoredHashIndex(0, n)})
		if err != nil {
			return err
		}
		if err := tlog.CheckRecord(proof, tree.N, tree.Hash, n, leaf[0]); err != nil {
			return fmt.Errorf("entry %d: %v", n, err)
		}
	}
	return nil
}

// checkOlder checks that the log extends the older sizes given and all checkpoints that it kept.
func checkOlder(dir string, v note.Verifier, tree tlog.Tree, tiles, derived tlog.HashReader, older []string) error {
	var trees []tlog.Tree
	for _, text := range append([]string{strconv.FormatInt((tree.N+1)/2, 10)}, older...) {
		size, err := strconv.ParseInt(text, 10, 64)
		if err != nil || size < 1 || size > tree.N {
			return fmt.Errorf("older size %q", text)
		}
		root, err := tlog.TreeHash(size, derived)
		if err != nil {
			return err
		}
		trees = append(trees, tlog.Tree{N: size, Hash: root})
	}
	kept, err := filepath.Glob(filepath.Join(dir, "checkpoints", "*"))
	if err != nil {
		return err
	}
	for _, path := range kept {
		msg, err := ioutil.ReadFile(path)
		if err != nil {
			return err
		}
		old, err := openCheckpoint(msg, v)
		if err != nil {
			return fmt.Errorf("%s: %v", path, err)
		}
		named, err := strconv.ParseInt(filepath.Base(path), 10, 64)
		if err != nil || named != old.N {
			return fmt.Errorf("%s: is of size %d", path, old.N)
		}
		// A checkpoint may be kept before it is published as the newest one.
		if old.N > 0 && old.N <= tree.N {
			trees = append(trees, old)
		}
	}
	for _, old := range trees {
		proof, err := tlog.ProveTree(tree.N, old.N, tiles)
		if err != nil {
			return fmt.Errorf("proof for older size %d: %v", old.N, err)
		}
		if err := tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash); err != nil {
			return fmt.Errorf("older size %d: %v", old.N, err)
		}
	}
	return nil
}

// checkReceipt checks a tlog-proof; its extra data is JSON with the entry as base64.
func checkReceipt(file, key string) error {
	v, err := newVerifier(key)
	if err != nil {
		return fmt.Errorf("verifier key: %v", err)
	}
	data, err := ioutil.ReadFile(file)
	if err != nil {
		return err
	}
	split := strings.Index(string(data), "\n\n")
	if split < 0 {
		return errors.New("receipt has no checkpoint")
	}
	lines := strings.Split(string(data[:split]), "\n")
	tree, err := openCheckpoint(data[split+2:], v)
	if err != nil {
		return fmt.Errorf("checkpoint: %v", err)
	}
	if len(lines) < 3 || lines[0] != "c2sp.org/tlog-proof@v1" {
		return errors.New("receipt header is wrong")
	}
	if !strings.HasPrefix(lines[1], "extra ") {
		return errors.New("receipt has no extra data")
	}
	extra, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(lines[1], "extra "))
	if err != nil {
		return fmt.Errorf("extra data: %v", err)
	}
	var opened struct {
		Entry []byte `json:"entry"`
	}
	if err := json.Unmarshal(extra, &opened); err != nil {
		return fmt.Errorf("extra data: %v", err)
	}
	if len(opened.Entry) == 0 {
		return errors.New("extra data has no entry")
	}
	if !strings.HasPrefix(lines[2], "index ") {
		return errors.New("receipt has no index")
	}
	index, err := strconv.ParseInt(strings.TrimPrefix(lines[2], "index "), 10, 64)
	if err != nil || index < 0 || index >= tree.N {
		return fmt.Errorf("receipt %q in a log of %d entries", lines[2], tree.N)
	}
	var proof tlog.RecordProof
	for _, line := range lines[3:] {
		hash, err := tlog.ParseHash(line)
		if err != nil {
			return fmt.Errorf("proof hash %q: %v", line, err)
		}
		proof = append(proof, hash)
	}
	if err := tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(opened.Entry)); err != nil {
		return err
	}
	fmt.Println("ok", tree.N, tree.Hash, index)
	return nil
}
