//! Rules for Markdown.

use super::FOLDERS;
use crate::source::Finding;

/// Exactly one line outside code blocks is a first-level heading.
pub fn one_title(text: &str) -> Vec<Finding> {
    let titles = prose_lines(text).filter(|(_, line)| line.starts_with("# ")).count();
    let what = format!("{titles} first-level headings instead of one");
    (titles != 1).then(|| Finding::new(0, what)).into_iter().collect()
}

/// Paths in backticks, and targets of relative links, that do not exist. `folder` is where the
/// document stands; a path counts from there or from the root.
pub fn missing_paths(text: &str, folder: &str, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let there =
        |path: &str| exists(path) || (!folder.is_empty() && exists(&format!("{folder}/{path}")));
    let mut found = Vec::new();
    for (line, prose) in prose_lines(text) {
        for token in prose.split('`').skip(1).step_by(2) {
            let path = token.strip_prefix("./").unwrap_or(token).trim_end_matches('/');
            if is_path(path) && !there(path) {
                found.push(Finding::new(line, format!("`{token}` does not exist")));
            }
        }
        for target in prose.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let path = target.split('#').next().unwrap_or_default();
            let outside = path.is_empty() || path.contains("://") || path.starts_with("mailto:");
            if !outside && !there(path) {
                found.push(Finding::new(line, format!("the link to {target} leads nowhere")));
            }
        }
    }
    found
}

/// Lines outside fenced code, numbered from 1.
fn prose_lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    let mut fenced = false;
    text.lines().enumerate().filter_map(move |(number, line)| {
        let fence = line.trim_start().starts_with("```");
        fenced ^= fence;
        (!fenced && !fence).then_some((number + 1, line))
    })
}

/// Whether a word in backticks claims to be a path of this repository, and not a pattern such as
/// `workflows/programs/ID.toml`.
fn is_path(token: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._-/".contains(c);
    let Some((first, rest)) = token.split_once('/') else {
        return false;
    };
    let placeholder = |word: &str| {
        word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase()) && word != "README"
    };
    (FOLDERS.contains(&first) || first == ".ci")
        && token.chars().all(plain)
        && !rest.split(['/', '.', '-']).any(placeholder)
}

mod tests {
    use super::*;

    #[test]
    fn a_document_has_one_title() {
        assert_eq!(one_title("# A\n\n```sh\n# a comment\n```\n## B\n"), []);
        assert_eq!(one_title("# A\n# B\n").len(), 1);
        assert_eq!(one_title("no title\n").len(), 1);
    }

    #[test]
    fn named_paths_exist() {
        let known = |path: &str| ["tests/run", "actors/docs/a.md"].contains(&path);
        let text = "Run `./tests/run`, see [a](docs/a.md#x) and [b](https://b.example/).\n\
                    `workflows/programs/ID.toml`, `a/b`, `cargo run -p x` are none.\n";
        assert_eq!(missing_paths(text, "actors", known), []);
        let text = "\nSee `actors/src/gone.rs` and [c](gone.md).\n";
        let lines: Vec<usize> =
            missing_paths(text, "actors", known).iter().map(|finding| finding.line).collect();
        assert_eq!(lines, [2, 2]);
    }
}
