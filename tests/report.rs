//! The report as a person and a build server get it, from a made-up run.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod sample;

use std::path::{Path, PathBuf};
use std::process::Command;

use quick_junit::Report;
use schism::report::terminal::summary;
use schism::report::{Data, Digest, Results, Verdict, junit, render};
use schism_checkers::Validity;
use schism_history::{Event, Process};

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
    let events = sample::long_history(1_000_000);
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

#[test]
fn the_documentation_of_the_results_names_every_field() {
    let json = serde_json::to_value(sample::results()).unwrap();
    let documentation = include_str!("../docs/results.md");
    let mut fields: Vec<&String> = json.as_object().unwrap().keys().collect();
    fields.extend(json["run"].as_object().unwrap().keys());
    for list in ["checks", "faults", "counts", "latencies", "errors", "timings"] {
        fields.extend(json[list][0].as_object().unwrap().keys());
    }
    fields.extend(json["checks"][0]["violations"][0].as_object().unwrap().keys());
    for field in fields {
        assert!(documentation.contains(&format!("`{field}`")), "docs/results.md does not explain `{field}`");
    }
}

#[test]
fn results_are_read_back_as_they_were_written() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("results.json");
    let text = sample::results().to_json().unwrap();
    std::fs::write(&path, &text).unwrap();
    assert_eq!(Results::read(&path).unwrap().to_json().unwrap(), text);
    std::fs::write(&path, text.replace("\"format\": 1", "\"format\": 2")).unwrap();
    assert!(Results::read(&path).unwrap_err().to_string().contains("has format 2"));
    std::fs::write(&path, "{}").unwrap();
    assert!(Results::read(&path).unwrap_err().to_string().contains("is not a results file"));
}

/// What the history shows is enough to refuse a pass, whatever the runner says.
#[test]
fn a_history_without_proof_is_never_a_pass() {
    let judge = |events: &[Event], checks: Vec<schism_checkers::CheckResult>| {
        Results::judge(sample::facts(), &Digest::of(events), checks, Vec::new(), Vec::new())
    };
    let events = sample::events();
    let pass = || vec![sample::check(&events, Validity::Pass)];
    assert_eq!(judge(&events, pass()).verdict, Verdict::Pass);
    assert_eq!(judge(&events, Vec::new()).verdict, Verdict::Void, "no checker ran");
    assert_eq!(judge(&[], pass()).verdict, Verdict::Void, "no load");

    let changed = |change: &dyn Fn(&mut Event)| {
        let mut events = events.clone();
        events.iter_mut().filter(|event| event.process == Process::Nemesis).for_each(change);
        judge(&events, pass())
    };
    let toothless = changed(&|event| {
        if event.value["id"] == "kill-1" && event.value["phase"] == "injected" {
            event.value["bit"] = false.into();
        }
    });
    assert_eq!((toothless.verdict, toothless.reasons.len()), (Verdict::Void, 1));
    assert!(toothless.sentence.contains("kill-1"), "{}", toothless.sentence);
    let early = changed(&|event| {
        if event.value["id"] == "kill-1" && event.value["phase"] == "healed" {
            event.value["error"] = "ended before its time: its lease ran out on n1".into();
        }
    });
    assert_eq!((early.verdict, early.reasons.len()), (Verdict::Void, 1));
    assert!(early.sentence.contains("kill-1") && early.sentence.contains("ended before its time"));
    let unhealed = changed(&|event| {
        if event.value["phase"] == "healed" {
            event.value["phase"] = "lost".into();
        }
    });
    assert_eq!((unhealed.verdict, unhealed.reasons.len()), (Verdict::Void, 3));
    let residue = changed(&|event| {
        if event.value["id"] == "kill-1" && event.value["phase"] == "healed" {
            event.value["healed"] = false.into();
        }
    });
    assert_eq!((residue.verdict, residue.exit_code), (Verdict::Residue, 6));
}

/// A file from a stranger may hold anything that parses.
#[test]
fn extreme_histories_have_a_page() {
    for times in [[0, 0, 0], [u64::MAX; 3], [0, u64::MAX / 2, u64::MAX], [u64::MAX, 0, 7]] {
        let mut events: Vec<Event> = sample::events().into_iter().take(300).collect();
        for (position, event) in events.iter_mut().enumerate() {
            event.time = times[position % 3];
            event.index = u64::MAX - event.index;
        }
        let digest = Digest::of(&events);
        let mut check = sample::check(&events, Validity::Violation);
        for (window, operations) in [((0, u64::MAX), vec![u64::MAX, 0, 7, 7]), ((u64::MAX, 0), Vec::new())] {
            let mut violation = check.violations[0].clone();
            (violation.window, violation.operations, violation.key) = (window, operations, None);
            check.violations.push(violation);
        }
        let results = Results::judge(sample::facts(), &digest, vec![check], Vec::new(), Vec::new());
        let page = render(&Data::new(results, &digest)).unwrap();
        assert!(!page.contains("NaN") && !page.contains("inf%"), "a number that is none");
    }
}

#[test]
fn whatever_is_left_out_is_counted() {
    let events = sample::events();
    let digest = Digest::of(&events);
    let mut check = sample::check(&events, Validity::Violation);
    let mut violation = check.violations[0].clone();
    violation.operations.extend(digest.operations.iter().map(|pair| digest.invocation(*pair).index));
    violation.key = None;
    violation.window = (0, digest.end);
    check.violations = vec![violation; 25];
    let results = Results::judge(sample::facts(), &digest, vec![check], Vec::new(), Vec::new());
    let data = Data::new(results, &digest);
    assert_eq!(data.evidence.len() + data.evidence_left_out, 25);
    let first = &data.evidence[0];
    assert_eq!(first.operations.len() + first.operations_left_out, digest.operations.len() + 4);
    assert_eq!(first.context.len() + first.context_left_out, digest.operations.len());
    let page = render(&data).unwrap();
    assert!(page.contains("15 more violations"), "the page does not say what it leaves out");
    assert!(page.len() < 5_000_000, "{} bytes", page.len());
}

/// A browser to look at the page with, where there is one.
fn chromium() -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    let names = ["chromium", "chromium-browser", "google-chrome"];
    std::env::split_paths(&path).flat_map(|dir| names.map(|name| dir.join(name))).find(|file| file.is_file())
}

/// Writes pages to look at to the directory that `SCHISM_SAMPLE_REPORTS` names, when it names one.
#[test]
fn samples_can_be_looked_at() {
    for (name, page) in [
        ("violation", sample::page()),
        ("pass", sample::judged_page(Validity::Pass, None)),
        ("unknown", sample::judged_page(Validity::Unknown, None)),
        ("residue", sample::judged_page(Validity::Unknown, Some(Verdict::Residue))),
    ] {
        assert!(page.ends_with("</html>\n"), "the page is cut off");
        assert!(page.contains(&format!("class=\"verdict {name}\"")), "the verdict is not {name}");
        if let Some(directory) = std::env::var_os("SCHISM_SAMPLE_REPORTS") {
            std::fs::write(Path::new(&directory).join(format!("{name}.html")), page).unwrap();
        }
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
