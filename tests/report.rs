//! The report as a person and a build server get it, from a made-up run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;

use quick_junit::Report;
use schism::report::terminal::summary;
use schism::report::{Data, Digest, Results, Verdict, junit, render};
use schism_checkers::Validity;

#[test]
fn hostile_values_stay_text() {
    let evil = r#"</script><script>alert("1")</script>'&"#;
    let page = sample::hostile_page(evil);
    // Ours is the only script with code, and the JSON the only other.
    assert_eq!(page.matches("<script").count(), 2, "a script was injected");
    assert_eq!(page.matches("</script").count(), 2, "a script was ended early");
    assert!(!page.contains("alert(\""), "a quote was not escaped");
    // And it is there, escaped, for a person to read.
    assert!(page.contains("&lt;/script&gt;&lt;script&gt;alert(&quot;1&quot;)&lt;/script&gt;&#39;&amp;"));
}

#[test]
fn nothing_is_fetched() {
    let page = sample::page();
    for outside in ["http://", "https://", "src=", "@import", "url("] {
        assert!(!page.contains(outside), "{outside} in the page");
    }
}

#[test]
fn an_empty_history_has_a_page_too() {
    let digest = Digest::of(&[]);
    let results = Results::judge(sample::facts(), &digest, Vec::new(), Vec::new(), Vec::new());
    let page = render(&Data::new(results, &digest)).unwrap();
    assert!(page.contains("class=\"verdict void\""), "{page}");
}

#[test]
fn a_long_run_stays_a_small_page() {
    let events = sample::long_history(100_000);
    let digest = Digest::of(&events);
    let results = Results::judge(sample::facts(), &digest, Vec::new(), Vec::new(), Vec::new());
    let page = render(&Data::new(results, &digest)).unwrap();
    assert!(page.len() < 2_000_000, "{} bytes", page.len());
}

#[test]
fn a_violation_is_a_failure_with_its_evidence() {
    let xml = junit(&sample::results()).unwrap();
    let report = Report::deserialize_from_str(&xml).unwrap();
    assert_eq!((report.tests, report.failures, report.errors), (2, 1, 0), "{xml}");
    assert!(xml.contains("which had been overwritten"), "{xml}");
}

#[test]
fn whatever_is_not_a_pass_is_not_a_success() {
    use schism_checkers::Validity;
    for (validity, verdict) in [
        (Validity::Pass, Some(Verdict::Void)),
        (Validity::Pass, Some(Verdict::Infra)),
        (Validity::Pass, Some(Verdict::Residue)),
        (Validity::Unknown, None),
        (Validity::Violation, None),
    ] {
        let results = sample::judged(validity, verdict);
        assert_ne!(results.verdict, Verdict::Pass);
        let report = Report::deserialize_from_str(&junit(&results).unwrap()).unwrap();
        assert!(report.failures + report.errors > 0, "{validity:?} {verdict:?}");
    }
    let passed = sample::judged(Validity::Pass, None);
    assert_eq!(passed.verdict, Verdict::Pass, "{:?}", passed.reasons);
    let report = Report::deserialize_from_str(&junit(&passed).unwrap()).unwrap();
    assert_eq!(report.failures + report.errors, 0);
}

#[test]
fn characters_that_xml_forbids_do_not_break_it() {
    let mut results = sample::results();
    results.checks[0].violations[0].summary = "\u{0}\u{1b}[31m<&>]]>\u{ffff}".to_owned();
    Report::deserialize_from_str(&junit(&results).unwrap()).unwrap();
}

#[test]
fn verdict_first_evidence_then_what_to_do() {
    let text = summary(&sample::results(), Some(Path::new("runs/latest/report.html")), false);
    insta::assert_snapshot!(text);
}

#[test]
fn colours_only_when_asked_and_never_from_outside() {
    let mut results = sample::results();
    results.checks[0].violations[0].summary = "\u{1b}[2Jgone\r\n\u{9b}31m".to_owned();
    assert!(!summary(&results, None, false).contains(['\u{1b}', '\u{9b}', '\r']));
    assert_eq!(summary(&results, None, true).matches('\u{1b}').count(), 2);
}

#[test]
fn reasons_are_told() {
    let results = sample::judged(Validity::Unknown, Some(Verdict::Void));
    let text = summary(&results, None, false);
    assert!(text.starts_with("VOID  "), "{text}");
    assert!(text.contains("unknown: "), "{text}");
}

/// A browser to look at the page with, where there is one.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file())
}

/// Writes the page to look at to the file that `SCHISM_SAMPLE_REPORT` names, when it names one.
#[test]
fn the_sample_can_be_looked_at() {
    let page = sample::page();
    assert!(page.ends_with("</html>\n"), "the page is cut off");
    if let Some(path) = std::env::var_os("SCHISM_SAMPLE_REPORT") {
        std::fs::write(path, page).unwrap();
    }
}

/// The page after its scripts have run, as a browser that knows no network sees it.
fn open_in_browser(browser: &Path, page: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("report.html");
    std::fs::write(&file, page).unwrap();
    let output = Command::new(browser)
        // As root the browser's own sandbox does not start.
        .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
        .args(["--disable-dev-shm-usage", "--timeout=20000"])
        .arg(format!("--user-data-dir={}", dir.path().join("profile").display()))
        .arg("--dump-dom")
        .arg(format!("file://{}", file.display()))
        .env("HOME", dir.path())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(browser) = chromium() else {
        eprintln!("skipped: no chromium in PATH");
        return;
    };
    let evil = r#"</script><script>document.body.dataset.evil = "1"</script>'&"#;
    for page in [sample::page(), sample::hostile_page(evil)] {
        let seen = open_in_browser(&browser, &page);
        let body = seen.lines().find(|line| line.contains("<body")).unwrap_or_default();
        assert!(body.contains("data-ready=\"true\""), "the script did not run to its end: {body}");
        assert!(!body.contains("data-failed"), "{body}");
        assert!(!body.contains("data-evil"), "a value became a script: {body}");
        assert!(seen.contains("Point at the pictures"), "the script did not find its place");
    }
    // The test can tell: a script that breaks half-way is not ready.
    let broken = sample::page().replace("var cursor = ", "var cursor = nothing.");
    assert!(!open_in_browser(&browser, &broken).contains("data-ready"));
}
