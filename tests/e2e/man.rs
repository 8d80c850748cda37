//! The man pages: complete, well-formed, and with the expected content.

use std::fs;

use crate::harness::{Process, Run, Sandbox};

/// Writes the pages and returns their names.
fn pages(sandbox: &Sandbox) -> Vec<String> {
    let man = sandbox.path("man").display().to_string();
    let run = Process::start(sandbox.busctl(&["man", &man])).finish().ok();
    assert_eq!(run.stderr, "", "{run}");
    let written = fs::read_dir(sandbox.path("man")).unwrap();
    let mut names: Vec<_> = written.map(|page| page.unwrap().path().display().to_string()).collect();
    names.sort();
    names
}

/// A page as it is shown, without terminal formatting.
fn shown(sandbox: &Sandbox, page: &str) -> Run {
    let mut groff = sandbox.command("groff");
    groff.args(["-man", "-Tutf8", "-ww", "-P-cbou", "-rLL=110n", page]);
    Process::start(groff).finish().ok()
}

#[test]
fn there_is_a_page_for_each_program_each_command_and_the_configuration() {
    let sandbox = Sandbox::new();
    let pages = pages(&sandbox);
    for name in [
        "/sse-busctl.1",
        "/sse-busctl-publish.1",
        "/sse-busctl-subscribe.1",
        "/sse-busctl-token-create.1",
        "/sse-busctl-doctor.1",
        "/sse-busd.1",
        "/sse-bus.toml.5",
    ] {
        assert!(pages.iter().any(|page| page.ends_with(name)), "no {name} in {pages:?}");
    }
    // Every command that `--help` lists has a page.
    let help = Process::start(sandbox.busctl(&["--help"])).finish().ok().stdout;
    let commands = help.split_once("Commands:\n").unwrap().1.split_once("\n\n").unwrap().0;
    for command in commands.lines().filter_map(|line| line.split_whitespace().next()) {
        let name = format!("/sse-busctl-{command}.1");
        assert!(pages.iter().any(|page| page.ends_with(&name)), "no {name} in {pages:?}");
    }
}

#[test]
fn the_pages_are_well_formed_and_have_the_expected_content() {
    let sandbox = Sandbox::new();
    for page in pages(&sandbox) {
        let run = shown(&sandbox, &page);
        assert_eq!(run.stderr, "", "{page}\n{run}");
        for heading in ["NAME", "DESCRIPTION", "FILES", "SEE ALSO"] {
            assert!(run.stdout.lines().any(|line| line == heading), "{page} lacks {heading}\n{run}");
        }
        if page.ends_with(".1") {
            for heading in ["SYNOPSIS", "EXIT STATUS", "ENVIRONMENT"] {
                assert!(run.stdout.lines().any(|line| line == heading), "{page} lacks {heading}\n{run}");
            }
        }
        let has_examples = run.stdout.lines().any(|line| line == "EXAMPLES");
        let is_program =
            ["busctl.1", "busd.1", "publish.1", "subscribe.1", "toml.5"].iter().any(|end| page.ends_with(end));
        assert!(has_examples || !is_program, "{page} lacks examples\n{run}");
    }
}

#[test]
fn the_pages_contain_the_help_texts() {
    let sandbox = Sandbox::new();
    let pages = pages(&sandbox);
    let text = |name: &str| shown(&sandbox, pages.iter().find(|page| page.ends_with(name)).unwrap()).stdout;
    let publish = text("/sse-busctl-publish.1");
    for part in ["sse-busctl publish", "--wait-for", "SSE_BUS_PUBLISH_TYPE", "no such client", "tail -f app.log |"] {
        assert!(publish.contains(part), "{part}\n{publish}");
    }
    let synopsis = publish.split_once("DESCRIPTION").unwrap().0;
    for part in ["[-t|--type TYPE]", "[--ttl DURATION]", "[--lines]", "[-f|--format FORMAT]", "[TOPIC] [DATA]"] {
        assert!(synopsis.split_whitespace().collect::<Vec<_>>().join(" ").contains(part), "{part}\n{synopsis}");
    }
    for part in ["durable: When the event is on disk", "text: For people"] {
        assert!(publish.contains(part), "possible values: {part}\n{publish}");
    }
    let daemon = text("/sse-busd.1");
    for part in ["--history-budget", "SSE_BUS_LISTEN", "0 stopped as asked", "SIGHUP", "sse-bus.toml(5)"] {
        assert!(daemon.contains(part), "{part}\n{daemon}");
    }
    let file = text("/sse-bus.toml.5");
    for part in [
        "# socket = ",
        "listen = \"localhost:7733\"",
        "[limits]",
        "event_bytes = ",
        "[[topics]]",
        "that each topic keeps",
    ] {
        assert!(file.contains(part), "{part}\n{file}");
    }
    assert!(!file.contains("----"), "{file}");
}

#[test]
fn a_directory_that_cannot_be_written_is_an_error() {
    let sandbox = Sandbox::new();
    let file = sandbox.file("man", "");
    let run = Process::start(sandbox.busctl(&["man", &file])).finish().ends_with(1);
    run.says("/man").says("choose another directory");
}

#[test]
fn help_is_available_under_the_usual_names() {
    let sandbox = Sandbox::new();
    let said = |args: &[&str]| Process::start(sandbox.busctl(args)).finish();
    assert_eq!(said(&["help"]).ok().stdout, said(&["--help"]).ok().stdout);
    assert_eq!(said(&["help", "token", "create"]).ok().stdout, said(&["token", "create", "--help"]).ok().stdout);
    said(&["help", "nothing"]).ends_with(2).says("nothing");
}
