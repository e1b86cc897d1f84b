//! Signed notes: a text and signature lines (C2SP signed-note).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::key::{self, KeyId, SigningKey, Verifier};
use crate::limits::{MAX_NOTE_BYTES, MAX_SIGNATURES};

/// What a signature line starts with: an em dash and a space.
const PREFIX: &str = "\u{2014} ";

/// Why bytes are not a note, or not one that can be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The note is longer than [`MAX_NOTE_BYTES`].
    #[error("note of {bytes} bytes is too long")]
    TooLong {
        /// Length of the note.
        bytes: usize,
    },
    /// The note is not UTF-8.
    #[error("note is not utf-8")]
    Utf8,
    /// The note has a control character other than newline.
    #[error("note has a control character")]
    Control,
    /// The text to sign is empty or does not end with a newline.
    #[error("note text does not end with a newline")]
    Text,
    /// No empty line stands before the signatures, or nothing follows it.
    #[error("note has no signatures")]
    NoSignatures,
    /// A signature line does not have its form.
    #[error("signature line {line} is malformed")]
    Line {
        /// Number of the line among the signature lines, from 1.
        line: usize,
    },
    /// There are more than [`MAX_SIGNATURES`] signature lines.
    #[error("note has too many signatures")]
    TooMany,
    /// A signature by a known key does not hold.
    #[error("signature of key {id} does not hold")]
    Invalid {
        /// The known key.
        id: KeyId,
    },
    /// No signature is by a known key.
    #[error("note is not signed by a known key")]
    Unverified,
}

/// A note with at least one signature that holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Opened<'n, 'k> {
    /// The signed text, with its final newline.
    pub text: &'n str,
    /// The known keys whose signatures hold, each once, in the order of their lines.
    pub signers: Vec<&'k Verifier>,
}

fn is_control(c: char) -> bool {
    c < '\u{20}' && c != '\n'
}

/// Signs a text, which must end with a newline, and returns the whole note.
///
/// # Errors
/// [`Error::Text`], [`Error::Control`] or [`Error::TooLong`].
pub fn sign(text: &str, key: &SigningKey) -> Result<String, Error> {
    if !text.ends_with('\n') {
        return Err(Error::Text);
    }
    if text.contains(is_control) {
        return Err(Error::Control);
    }
    let id = key.verifier().id();
    let blob = [id.as_bytes().as_slice(), &key.sign(text.as_bytes())].concat();
    let note = format!("{text}\n{PREFIX}{} {}\n", key.name(), STANDARD.encode(blob));
    check_length(note.as_bytes())?;
    Ok(note)
}

/// Opens a note: splits it at the last empty line, checks every signature by a known key and
/// ignores those by others.
///
/// # Errors
/// [`Error`] when the note is malformed, a known key's signature does not hold, or none is there.
pub fn open<'n, 'k>(note: &'n [u8], known: &'k [Verifier]) -> Result<Opened<'n, 'k>, Error> {
    check_length(note)?;
    let note = std::str::from_utf8(note).map_err(|_| Error::Utf8)?;
    if note.contains(is_control) {
        return Err(Error::Control);
    }
    let split = note.rfind("\n\n").ok_or(Error::NoSignatures)?;
    let (text, lines) = (&note[..=split], &note[split + 2..]);
    let lines = lines.strip_suffix('\n').ok_or(Error::NoSignatures)?;
    let mut signers: Vec<&Verifier> = Vec::new();
    for (line, content) in (1..).zip(lines.split('\n')) {
        if line > MAX_SIGNATURES {
            return Err(Error::TooMany);
        }
        let (name, id, signature) = parse_line(content).ok_or(Error::Line { line })?;
        let by = known.iter().find(|known| known.name() == name && known.id() == id);
        let Some(verifier) = by else { continue };
        if signers.contains(&verifier) {
            continue;
        }
        if !verifier.verify(text.as_bytes(), &signature) {
            return Err(Error::Invalid { id });
        }
        signers.push(verifier);
    }
    if signers.is_empty() { Err(Error::Unverified) } else { Ok(Opened { text, signers }) }
}

fn check_length(note: &[u8]) -> Result<(), Error> {
    if note.len() > MAX_NOTE_BYTES {
        return Err(Error::TooLong { bytes: note.len() });
    }
    Ok(())
}

fn parse_line(line: &str) -> Option<(&str, KeyId, Vec<u8>)> {
    let (name, blob) = line.strip_prefix(PREFIX)?.split_once(' ')?;
    key::check_name(name).ok()?;
    let blob = STANDARD.decode(blob).ok()?;
    let (id, signature) = blob.split_first_chunk::<4>()?;
    if signature.is_empty() {
        return None;
    }
    Some((name, KeyId::new(*id), signature.to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str, seed: u8) -> SigningKey {
        SigningKey::from_seed(name, &[seed; 32]).unwrap()
    }

    fn signature_line(note: &str) -> &str {
        note.rsplit_once("\n\n").unwrap().1
    }

    #[test]
    fn a_signed_note_opens_with_its_key() {
        let key = key("example.com/log", 1);
        let known = [key.verifier().clone()];
        for text in ["one\n", "one\n\ntwo\n", "one\n\n", "\n", "날씨\n"] {
            let note = sign(text, &key).unwrap();
            let opened = open(note.as_bytes(), &known).unwrap();
            assert_eq!(opened, Opened { text, signers: vec![&known[0]] });
        }
    }

    #[test]
    fn signatures_by_unknown_keys_are_ignored() {
        let (ours, other) = (key("ours", 1), key("other", 2));
        let known = [ours.verifier().clone()];
        let by_other = sign("text\n", &other).unwrap();
        assert_eq!(open(by_other.as_bytes(), &known), Err(Error::Unverified));
        assert_eq!(open(by_other.as_bytes(), &[]), Err(Error::Unverified));
        let by_ours = sign("text\n", &ours).unwrap();
        let both = format!("{by_other}{}", signature_line(&by_ours));
        assert_eq!(open(both.as_bytes(), &known).unwrap().signers, [&known[0]]);
        let two = [other.verifier().clone(), ours.verifier().clone()];
        let twice = format!("{both}{}", signature_line(&by_ours));
        assert_eq!(open(twice.as_bytes(), &two).unwrap().signers, [&two[0], &two[1]]);
    }

    #[test]
    fn a_signature_by_a_known_key_must_hold() {
        let key = key("log", 1);
        let known = [key.verifier().clone()];
        let note = sign("text\n", &key).unwrap();
        let id = key.verifier().id();
        let changed = note.replace("text", "test");
        assert_eq!(open(changed.as_bytes(), &known), Err(Error::Invalid { id }));
        let short = STANDARD.encode([id.as_bytes().as_slice(), &[0; 72]].concat());
        let long = format!("text\n\n{PREFIX}log {short}\n");
        assert_eq!(open(long.as_bytes(), &known), Err(Error::Invalid { id }));
    }

    #[test]
    fn malformed_notes_are_refused() {
        let key = key("log", 1);
        let known = [key.verifier().clone()];
        let note = sign("text\n", &key).unwrap();
        let line = signature_line(&note);
        let refused = |note: &str| open(note.as_bytes(), &known).unwrap_err();
        assert_eq!(refused(""), Error::NoSignatures);
        assert_eq!(refused("text\n"), Error::NoSignatures);
        assert_eq!(refused("text\n\n"), Error::NoSignatures);
        assert_eq!(refused(note.trim_end()), Error::NoSignatures);
        assert_eq!(refused(&format!("text\n{line}")), Error::NoSignatures);
        assert_eq!(refused(&note.replace("text", "te\tt")), Error::Control);
        assert_eq!(refused(&note.replace('\n', "\r\n")), Error::Control);
        assert_eq!(refused(&note.replace(PREFIX, "- ")), Error::Line { line: 1 });
        assert_eq!(refused(&note.replace(" log ", "  ")), Error::Line { line: 1 });
        assert_eq!(refused(&note.replace(" log ", " l+g ")), Error::Line { line: 1 });
        assert_eq!(refused(&format!("{note}junk\n")), Error::Line { line: 2 });
        assert_eq!(refused(&format!("{note}{PREFIX}log AAAA\n")), Error::Line { line: 2 });
        assert_eq!(refused(&format!("{note}{PREFIX}log AAAAAA=\n")), Error::Line { line: 2 });
        assert_eq!(open(b"text\xff\n\n", &known), Err(Error::Utf8));
        let hundred = format!("text\n\n{}", line.repeat(MAX_SIGNATURES));
        assert!(open(hundred.as_bytes(), &known).is_ok());
        assert_eq!(refused(&format!("{hundred}{line}")), Error::TooMany);
        let bytes = MAX_NOTE_BYTES + 1;
        assert_eq!(open(&vec![b'\n'; bytes], &known), Err(Error::TooLong { bytes }));
    }

    #[test]
    fn texts_that_no_reader_would_open_are_not_signed() {
        assert_eq!(sign("", &key("log", 1)), Err(Error::Text));
        assert_eq!(sign("text", &key("log", 1)), Err(Error::Text));
        assert_eq!(sign("te\0t\n", &key("log", 1)), Err(Error::Control));
        let long = "\n".repeat(MAX_NOTE_BYTES);
        assert!(matches!(sign(&long, &key("log", 1)), Err(Error::TooLong { .. })));
    }
}
