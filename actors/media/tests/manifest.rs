//! Scores real media with the shipped tables and checks the ideas behind them: good items stand
//! clearly above the floor, flawed ones below it or below their originals, hostile ones are
//! refused.
//!
//! The files live beside the project; without them the tests say that they were skipped.

#![expect(clippy::unwrap_used, reason = "a test that cannot read its data has to fail")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use gristmill_media::{Limits, Modality, measure};
use gristmill_workflows::score::{ScoreTables, Verdict};

/// What a program would ask for.
const FLOOR: i64 = 5_000;

/// What a good item must reach.
const GOOD: i64 = 7_000;

/// A gate or an error, or a score.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Judged {
    Rejected(&'static str),
    Score(i64),
}

struct Row {
    path: String,
    modality: String,
    quality: String,
}

fn media_root() -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/media");
    if root.join("MANIFEST.csv").is_file() {
        Some(root)
    } else {
        eprintln!("skipped: no media beside the project at ../shared/media");
        None
    }
}

/// The columns of one line; quotes around a column may hold commas and doubled quotes.
fn columns(line: &str) -> Vec<String> {
    let mut columns = vec![String::new()];
    let mut quoted = false;
    for letter in line.chars() {
        match letter {
            '"' => quoted = !quoted,
            ',' if !quoted => columns.push(String::new()),
            _ => columns.last_mut().unwrap().push(letter),
        }
    }
    columns
}

fn rows(root: &Path) -> Vec<Row> {
    let text = std::fs::read_to_string(root.join("MANIFEST.csv")).unwrap();
    let mut lines = text.lines().map(columns);
    let names = lines.next().unwrap();
    let column = |name: &str| names.iter().position(|known| known == name).unwrap();
    let (path, modality, quality) =
        (column("path"), column("modality"), column("expected_quality"));
    lines
        .map(|line| Row {
            path: line[path].clone(),
            modality: line[modality].clone(),
            quality: line[quality].clone(),
        })
        .collect()
}

fn tables() -> ScoreTables {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../workflows");
    let text = std::fs::read_to_string(folder.join("contribution.toml")).unwrap();
    let workflow: toml::Table = text.parse().unwrap();
    let settings = workflow["stage"]["scoring"]["settings"].clone();
    let tables: ScoreTables = settings["table"].clone().try_into().unwrap();
    tables.validate().unwrap();
    tables
}

fn modality(name: &str) -> Modality {
    let all = [Modality::Voice, Modality::Image, Modality::Video];
    all.into_iter().find(|known| known.as_str() == name).unwrap()
}

fn judge(bytes: &[u8], expected: Modality, tables: &ScoreTables) -> Judged {
    let measures = match measure(bytes, expected, &Limits::default()) {
        Ok(measures) => measures,
        Err(error) => return Judged::Rejected(error.reason()),
    };
    let table = match measures.modality() {
        Modality::Voice => &tables.voice,
        Modality::Image => &tables.image,
        Modality::Video => &tables.video,
    };
    match table.score(&measures.named()).unwrap() {
        Verdict::Scored { score, .. } => Judged::Score(score),
        Verdict::Gate { reason, .. } => Judged::Rejected(reason.as_str()),
    }
}

/// Every item of the three modalities with its verdict, printed as a table.
fn judged(root: &Path) -> BTreeMap<String, (Judged, String)> {
    let tables = tables();
    let mut all = BTreeMap::new();
    for row in rows(root).into_iter().filter(|row| row.modality != "hostile") {
        let bytes = std::fs::read(root.join(&row.path)).unwrap();
        let verdict = judge(&bytes, modality(&row.modality), &tables);
        println!("{:<60} {:<28} {}", row.path, format!("{verdict:?}"), row.quality);
        all.insert(row.path, (verdict, row.quality));
    }
    all
}

#[test]
fn good_media_stand_above_the_floor_and_flawed_ones_below() {
    let Some(root) = media_root() else { return };
    let all = judged(&root);
    let mut wrong = Vec::new();
    for (path, (verdict, quality)) in &all {
        // Still pictures of the newer container formats are not measured.
        let supported = !path.ends_with(".heic") && !path.ends_with(".avif");
        let good = path.contains("/photo/") || path.contains("/ko/") || path.contains("/clip/");
        let fine = good && supported && quality.contains("good") && !quality.contains("too short");
        if fine && !matches!(verdict, Judged::Score(score) if *score >= GOOD) {
            wrong.push(format!("{path}: {verdict:?}, yet {quality}"));
        }
        // The words the list uses for what nobody would pay for.
        let flaws = [
            "reject",
            "bad: heavy noise",
            "(packet loss): bad",
            "too quiet",
            "mostly silence",
            "too short",
            "too small",
            "fake resolution",
            "heavy blocking",
            "frozen",
            "all black",
            "very low quality",
            "choppy",
            "over-exposed",
            "must be",
            "bytes missing",
            "damaged payload",
        ];
        let dark = path.contains("image/") && quality.contains("too dark");
        let flawed = dark || flaws.iter().any(|flaw| quality.contains(flaw));
        if flawed && matches!(verdict, Judged::Score(score) if *score >= FLOOR) {
            wrong.push(format!("{path}: {verdict:?}, yet {quality}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lists of files, each of which must score below the one before it.
fn falling() -> Vec<Vec<String>> {
    let mut lists = Vec::new();
    for base in ["bb2", "leo"] {
        let path = |name: &str| format!("voice/ko_degraded/{base}_{name}");
        let noise = ["flac.flac", "noise_snr20.wav", "noise_snr5.wav", "noise_snr-5.wav"];
        lists.push(noise.map(path).to_vec());
        lists.push(["flac.flac", "clip_mild.wav", "clip_hard.wav"].map(path).to_vec());
        let singles = "quiet_m45 dropouts dc_offset hum60 babble_snr0 clip_then_quiet \
                       mostly_digital_silence loop5";
        for name in singles.split_whitespace() {
            lists.push(vec![path("flac.flac"), path(&format!("{name}.wav"))]);
        }
    }
    for base in ["grapefruit_slices", "ski_coffee"] {
        let original = format!("image/near_duplicate/{base}_q60.jpg");
        let path = |name: &str| format!("image/degraded/{base}_{name}.jpg");
        lists.push(vec![original.clone(), path("blur_mild"), path("blur_gauss4")]);
        for name in ["blur_motion", "dark", "over", "noisy", "lowres_96", "lowres_up", "q5"] {
            lists.push(vec![original.clone(), path(name)]);
        }
    }
    for (base, original) in [("flower", "flower"), ("bbb", "bigbuckbunny")] {
        for name in ["dark", "blur", "frozen", "black", "lowbitrate", "fps2", "short"] {
            let original = format!("video/clip/{original}.mp4");
            lists.push(vec![original, format!("video/degraded/{base}_{name}.mp4")]);
        }
    }
    lists
}

#[test]
fn a_degraded_copy_scores_below_its_original_and_worse_is_lower() {
    let Some(root) = media_root() else { return };
    let all = judged(&root);
    let score = |path: &String| match all.get(path) {
        Some((Judged::Score(score), _)) => *score,
        Some((Judged::Rejected(_), _)) => -1,
        None => panic!("{path} is not in the list"),
    };
    let mut wrong = Vec::new();
    for list in falling() {
        for pair in list.windows(2) {
            let (better, worse) = (score(&pair[0]), score(&pair[1]));
            if worse >= better {
                wrong.push(format!("{} {better} <= {} {worse}", pair[0], pair[1]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn hostile_files_get_a_reason_or_an_honest_measure_whatever_they_claim_to_be() {
    let Some(root) = media_root() else { return };
    let mut measured = Vec::new();
    for row in rows(&root).into_iter().filter(|row| row.path.starts_with("hostile/")) {
        let bytes = std::fs::read(root.join(&row.path)).unwrap();
        for expected in [Modality::Voice, Modality::Image, Modality::Video] {
            match measure(&bytes, expected, &Limits::default()) {
                Ok(_) => measured.push(row.path.clone()),
                Err(error) => assert!(!error.reason().is_empty()),
            }
        }
    }
    // Whole content under a lying name, with junk behind it, or of a millisecond: nothing else.
    let honest = [
        "wav_named.jpg",
        "mp4_named.png",
        "polyglot_wav_zip.wav",
        "polyglot_jpeg_zip.jpg",
        "jpeg_100kB_trailing_junk.jpg",
        "pillow_invalid-exif.jpg",
        "pillow_png_decompression_dos.png",
        "hound_nonstandard-01.wav",
        "hound_nonstandard-02.wav",
    ];
    measured.retain(|path| !honest.iter().any(|name| path.ends_with(name)));
    assert_eq!(measured, Vec::<String>::new());
}

#[test]
fn the_tables_know_exactly_what_is_measured() {
    use gristmill_media::{ImageMeasures, Measures, VideoMeasures, VoiceMeasures};
    use gristmill_workflows::score::{IMAGE_MEASURES, VIDEO_MEASURES, VOICE_MEASURES};
    let all = [
        (Measures::Voice(VoiceMeasures::default()), VOICE_MEASURES),
        (Measures::Image(ImageMeasures::default()), IMAGE_MEASURES),
        (Measures::Video(VideoMeasures::default()), VIDEO_MEASURES),
    ];
    for (measures, known) in all {
        let names: Vec<&str> = measures.named().into_keys().collect();
        assert_eq!(names, known);
    }
    tables();
}

#[test]
fn the_same_bytes_measure_the_same() {
    let Some(root) = media_root() else { return };
    for path in ["voice/ko/leopard_test_ko_16k.wav", "voice/ko_degraded/bb2_mp3_24k.mp3"] {
        let bytes = std::fs::read(root.join(path)).unwrap();
        let once = measure(&bytes, Modality::Voice, &Limits::default()).unwrap();
        assert_eq!(measure(&bytes, Modality::Voice, &Limits::default()).unwrap(), once, "{path}");
    }
}
