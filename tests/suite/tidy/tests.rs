//! Every rule on a snippet that keeps it and one that breaks it.

use super::*;

/// Fails unless `rule` finds nothing in `good` and something in `bad`, on its last line.
fn try_rule(rule: fn(&str) -> Vec<Finding>, good: &str, bad: &str) {
    assert_eq!(rule(&parts(good).code), [], "{good}");
    let lines: Vec<usize> = rule(&parts(bad).code).iter().map(|finding| finding.line).collect();
    assert_eq!(lines, [bad.lines().count()], "{bad}");
}

#[test]
fn a_long_file_is_found() {
    assert_eq!(file_length(&"x\n".repeat(500)), []);
    assert_eq!(file_length(&"x\n".repeat(501)).len(), 1);
}

#[test]
fn an_empty_name_is_found() {
    assert_eq!(file_name("actors/src/shard/admission.rs"), []);
    assert_eq!(file_name("actors/src/common.rs").len(), 1);
    assert_eq!(file_name("actors/src/helpers/a.rs").len(), 1);
    assert_eq!(file_name("actors/src/shard/mod.rs").len(), 1);
    try_rule(module_name, "mod utilisation;\n// mod utils", "mod a;\nmod utils {}");
}

#[test]
fn a_module_without_documentation_is_found() {
    assert_eq!(module_documentation("//! Says it.\n"), []);
    assert_eq!(module_documentation("use std::fs;\n").len(), 1);
}

#[test]
fn unfinished_work_is_found() {
    assert_eq!(unfinished("// Done. TODOS is another word.\n"), []);
    let left = concat!("// fine\n// TO", "DO: later\n");
    assert_eq!(unfinished(left)[0].line, 2);
}

#[test]
fn an_allowed_lint_is_found() {
    try_rule(allow_attribute, "#[expect(a, reason = \"b\")]", "fn f() {}\n#[allow(dead_code)]");
    assert_eq!(allow_attribute("#![allow(unused)]").len(), 1);
}

#[test]
fn a_queue_without_a_bound_is_found() {
    try_rule(unbounded, "channel(8) // no unbounded_channel", "use m;\nm::unbounded_channel()");
}

#[test]
fn a_sleeping_test_is_found() {
    try_rule(sleeping, "\"sleep(\"; asleep(1); // sleep(1)", "a();\nthread::sleep(second)");
}

#[test]
fn an_ignored_test_is_found() {
    try_rule(ignored, "#[test]\nfn a() {} // #[ignore]", "#[test]\n#[ignore = \"slow\"]");
}

#[test]
fn a_prefixed_test_is_found() {
    try_rule(
        test_prefix,
        "#[test]\nfn a_test_of_a() {}\nfn test_code() {}",
        "#[test]\nfn test_a() {}",
    );
}

#[test]
fn an_encoder_elsewhere_is_found() {
    try_rule(encoder_named, "// bincode\n\"bincode\"", "use x;\nuse bincode::config;");
}

#[test]
fn a_stray_limit_is_found() {
    let good = "const BYTES_MAX: usize = limits::BYTES_MAX;\nconst HEADER: usize = 12;";
    try_rule(stray_limit, good, "use a;\npub const QUEUE_MAX: usize = 1024;");
}

#[test]
fn production_behind_tests_is_found() {
    let good = "fn a() {}\n\n#[cfg(test)]\npub(crate) mod town;\n\n#[cfg(test)]\nmod tests {\n    use a;\n}\n";
    assert_eq!(hidden_behind_tests(good), []);
    let bad = "mod a;\n#[cfg(test)]\nmod tests;\n\npub use a::b;\n";
    assert_eq!(hidden_behind_tests(bad)[0].line, 5);
}

#[test]
fn a_limits_constants_are_found_by_name() {
    let code = "const A_MAX: u8 = 1;\nconst _: () = assert!(A_MAX > 0);\npub const fn of() {}\n";
    assert_eq!(constants(code), [(1, "A_MAX".to_owned())]);
}

#[test]
fn a_foreign_place_is_found() {
    assert_eq!(foreign_place("the folder at work/ and frame/work/x"), []);
    assert_eq!(foreign_place(concat!("ok\ncd /wo", "rk/main"))[0].line, 2);
    assert_eq!(foreign_place(concat!("see crates", ".io")).len(), 1);
}
