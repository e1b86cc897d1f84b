#!/usr/bin/env bash
# Makes the media of seoul.ndjson. It ran once; what it made is committed, and nothing in the
# build or the tests calls it. No recording and no picture of a person is involved: the speech
# is synthesised, the pictures and clips are drawn.
#
#   apt-get install -y espeak-ng ffmpeg imagemagick python3
#   ./make-media.sh
#
# Encoders differ from release to release, so a second run makes other bytes: then put the new
# digests (`sha256sum media/*`) into the lines of seoul.ndjson that name one.
set -euo pipefail
cd "$(dirname "$0")"
out=media
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf "$out"
mkdir -p "$out"

# speak NAME EXTENSION VARIANT SPEED PITCH TEXT: 16 kHz mono speech with half a second around it.
speak() {
    local name=$1 extension=$2 variant=$3 speed=$4 pitch=$5 text=$6
    espeak-ng -v "ko+$variant" -s "$speed" -p "$pitch" -a 80 -w "$work/$name.wav" "$text"
    local codec
    case $extension in
        wav) codec=(-c:a pcm_s16le) ;;
        flac) codec=(-c:a flac -compression_level 12 -sample_fmt s16) ;;
        ogg) codec=(-c:a libvorbis -q:a 2) ;;
        mp3) codec=(-c:a libmp3lame -b:a 40k) ;;
    esac
    ffmpeg -v error -y -i "$work/$name.wav" -af "adelay=250:all=1,apad=pad_dur=0.25" \
        -ac 1 -ar 16000 -map_metadata -1 -fflags +bitexact "${codec[@]}" "$out/$name.$extension"
}

# skyline SEED: drawing commands of a street of buildings with lit windows, hills behind it.
skyline() {
    python3 - "$1" <<'PY'
import random
import sys

rng = random.Random(int(sys.argv[1]))
left = 0
while left < 800:
    width = rng.randint(50, 120)
    top = rng.randint(140, 420)
    shade = rng.randint(40, 150)
    print(f"fill rgb({shade},{shade - rng.randint(0, 20)},{shade + rng.randint(0, 40)})")
    print(f"rectangle {left},{top} {left + width},600")
    for y in range(top + 10, 585, 18):
        for x in range(left + 8, left + width - 10, 14):
            glow = rng.choice([(250, 230, 150), (200, 210, 230), (30, 30, 45)])
            print("fill rgb({},{},{})".format(*glow))
            print(f"rectangle {x},{y} {x + 7},{y + 10}")
    left += width + rng.randint(0, 12)
PY
}

# photo NAME EXTENSION SEED TOP BOTTOM: an 800 × 600 picture; TOP and BOTTOM colour the sky.
photo() {
    local name=$1 extension=$2 seed=$3 top=$4 bottom=$5
    skyline "$seed" >"$work/$name.mvg"
    convert -size 800x600 "gradient:$top-$bottom" \
        \( -size 800x600 -seed "$seed" plasma:fractal -modulate 100,40 \) \
        -compose blend -define compose:args=25 -composite \
        -draw "$(cat "$work/$name.mvg")" -seed "$seed" -attenuate 0.12 +noise Gaussian \
        -strip "$work/$name.png"
    case $extension in
        jpg) convert "$work/$name.png" -sampling-factor 4:2:0 -quality 72 "$out/$name.jpg" ;;
        webp) convert "$work/$name.png" -quality 60 "$out/$name.webp" ;;
        png) convert -size 640x480 "gradient:$top-$bottom" -draw "$(cat "$work/$name.mvg")" -strip \
            -define png:compression-level=9 "PNG24:$out/$name.png" ;;
    esac
}

# clip NAME EXTENSION SOURCE TONE FILTER: three seconds, 640 × 360, 24 frames a second, with sound.
clip() {
    local name=$1 extension=$2 source=$3 tone=$4 filter=$5
    local codec=(-c:v libx264 -preset veryslow -crf 36 -pix_fmt yuv420p -c:a aac -b:a 32k)
    if [ "$extension" = webm ]; then
        codec=(-c:v libvpx-vp9 -crf 44 -b:v 0 -c:a libopus -b:a 24k)
    fi
    ffmpeg -v error -y -f lavfi -i "$source=size=640x360:rate=24" \
        -f lavfi -i "sine=frequency=$tone:sample_rate=48000" -t 3 -ac 1 -vf "$filter" \
        -map_metadata -1 -fflags +bitexact "${codec[@]}" "$out/$name.$extension"
}

speak voice-01 wav f2 150 50 "안녕하세요. 오늘은 서울의 날씨가 맑습니다."
speak voice-02 wav m3 155 40 "지하철 이 호선은 시청에서 강남으로 갑니다."
speak voice-03 flac f3 145 60 "시장 골목에서 따뜻한 떡볶이와 어묵을 사서 나누어 먹었습니다."
speak voice-04 flac m1 150 45 "한강 공원에는 자전거를 타는 사람과 걷는 사람이 많습니다."
speak voice-05 ogg f4 160 55 "내일 아침 일곱 시에 일어나서 남산까지 걸어갈 계획입니다."
speak voice-06 ogg m5 140 35 "도서관은 평일에 아홉 시부터 여섯 시까지 문을 엽니다."
speak voice-07 mp3 f1 150 65 "이 버스는 광화문을 지나 북촌 한옥마을까지 갑니다."
speak voice-08 mp3 m7 148 42 "비가 오는 날에는 우산을 꼭 챙기고 길이 미끄러우니 조심하세요."
speak voice-09 ogg f5 152 52 "가을이 되면 은행나무 잎이 노랗게 물들어 거리가 환해집니다."
speak voice-10 mp3 m2 158 48 "다음 정류장에서 내려서 길을 건너면 우체국이 보입니다."
speak voice-11 ogg f2 138 58 "전화번호는 공이 일이삼 사오육칠 번이라고 적혀 있습니다."
speak voice-12 mp3 m4 150 50 "저녁에는 가족과 함께 김치찌개를 끓여 먹을 생각입니다."
speak voice-13 ogg f3 150 50 "동의가 끝난 뒤에 낸 녹음은 받아들이지 않습니다."
speak voice-14 mp3 m3 150 50 "이 녹음은 낸 사람이 동의를 거두어 쓰이지 않습니다."
speak wrong-modality wav m1 165 50 "사진이 아닙니다."

# Near silence: white noise 66 dB below full scale, without a word in it.
ffmpeg -v error -y -f lavfi -i "anoisesrc=amplitude=0.0005:sample_rate=16000:seed=7" -t 3 -ac 1 \
    -map_metadata -1 -fflags +bitexact -c:a flac -sample_fmt s16 "$out/near-silence.flac"

photo photo-01 jpg 11 "#7fb2e5" "#f4e3c1"
photo photo-02 jpg 12 "#34507a" "#c98a5a"
photo photo-03 jpg 13 "#9cc7ea" "#dfeaf2"
photo photo-04 jpg 14 "#c7a27a" "#f0d9b5"
photo photo-05 png 15 "#6fa8dc" "#fff2cc"
photo photo-06 png 16 "#8e7cc3" "#f9cb9c"
photo photo-07 webp 17 "#5b8fb9" "#e8e2d0"
photo photo-08 webp 18 "#44618b" "#d9b38c"
photo photo-09 webp 19 "#a2c4c9" "#fce5cd"
photo photo-11 webp 21 "#7d9db5" "#e9d5b0"

# Corrupt: the signature and header of a PNG, then its pixels overwritten and cut off.
{
    head -c 120 "$out/photo-05.png"
    head -c 3000 /dev/zero | tr '\0' '\245'
} >"$out/corrupt.png"

clip video-01 mp4 testsrc2 330 null
clip video-02 mp4 mandelbrot 262 null
clip video-03 webm testsrc2 392 hflip
clip video-04 webm testsrc2 440 hflip,hue=h=120
clip video-05 mov testsrc2 294 hue=h=200
clip video-06 mkv testsrc2 523 vflip

du -cb "$out"/* | tail -n 1
