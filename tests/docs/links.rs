//! The links of all documents: each leads to a file of the repository and, with `#`, to a heading in it.
//!
//! Pages below `docs` are also published as a book, which has no other files. They link to those by their address on the
//! web, which is checked like a path.

use std::{collections::HashMap, fs, path::Path, sync::LazyLock};

use regex::Regex;

use crate::document::{self, ROOT};

/// The repository on the web.
const ON_THE_WEB: &str = "https://github.com/sse-bus/sse-bus/blob/main/";
/// Documents besides the README and the pages below `docs`.
const OTHERS: [&str; 5] =
    ["CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "docs/SUMMARY.md", "packaging/npm/README.md"];

static FENCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^```[^`]*?^```$").unwrap());
static CODE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"`[^`\n]*`").unwrap());
static LINK: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(r#"\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)""#).unwrap());
static HEADING: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"(?m)^#+ (.+)$").unwrap());

#[test]
fn every_link_has_a_target() {
    let mut paths: Vec<String> = document::all().into_iter().map(|document| document.path).collect();
    paths.extend(OTHERS.map(str::to_owned));
    paths.dedup();
    let mut dead = Vec::new();
    for path in &paths {
        let text = read(path).expect("a document of the repository");
        for target in targets(&text) {
            if let Err(why) = check(path, &target) {
                dead.push(format!("{path}: {target}: {why}"));
            }
        }
    }
    assert!(dead.is_empty(), "\n{}\n", dead.join("\n"));
}

#[test]
fn every_page_is_in_the_summary() {
    let summary = read("docs/SUMMARY.md").expect("the summary");
    let mut listed: Vec<String> = targets(&summary).into_iter().map(|target| format!("docs/{target}")).collect();
    let mut pages: Vec<String> = document::all().into_iter().map(|document| document.path).collect();
    pages.retain(|path| path.starts_with("docs/") && path != "docs/SUMMARY.md");
    listed.sort();
    pages.sort();
    assert_eq!(listed, pages);
}

/// The targets of the links in a document.
fn targets(text: &str) -> Vec<String> {
    let text = without_code(text);
    let target =
        |found: regex::Captures| found.get(1).or_else(|| found.get(2)).map(|target| target.as_str().to_owned());
    let targets = LINK.captures_iter(&text).filter_map(target);
    targets.collect()
}

fn without_code(text: &str) -> String {
    CODE.replace_all(&FENCE.replace_all(text, ""), "").into()
}

fn check(from: &str, target: &str) -> Result<(), String> {
    let (path, anchor) = target.split_once('#').map_or((target, None), |(path, anchor)| (path, Some(anchor)));
    let path = if let Some(path) = path.strip_prefix(ON_THE_WEB) {
        path.to_owned()
    } else if path.contains("://") {
        return Ok(());
    } else if path.is_empty() {
        from.to_owned()
    } else {
        let folder = match from {
            // In the package it stands beside the module.
            "packaging/npm/README.md" => "daemon/web/client",
            from => from.rsplit_once('/').map_or("", |(folder, _)| folder),
        };
        let path = normal(&format!("{folder}/{path}")).ok_or("it leaves the repository")?;
        if from.starts_with("docs/") && !path.starts_with("docs/") {
            return Err(format!("the book does not contain it; link to {ON_THE_WEB}{path}"));
        }
        path
    };
    if !Path::new(ROOT).join(&path).exists() {
        return Err(format!("there is no {path}"));
    }
    let Some(anchor) = anchor else { return Ok(()) };
    let text = read(&path).ok_or("only documents have headings")?;
    let anchors = anchors(&text);
    if anchors.iter().any(|known| known == anchor) { Ok(()) } else { Err(format!("{path} has {anchors:?}")) }
}

/// The path without `.` and `..`.
fn normal(path: &str) -> Option<String> {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    Some(parts.join("/"))
}

/// The anchors of the headings, as GitHub and mdBook derive them.
fn anchors(text: &str) -> Vec<String> {
    let mut seen = HashMap::<String, u32>::new();
    let text = FENCE.replace_all(text, "");
    let headings = HEADING.captures_iter(&text).map(|heading| {
        let words = heading[1].to_lowercase();
        let slug: String = words
            .chars()
            .filter(|c| c.is_alphanumeric() || [' ', '-', '_'].contains(c))
            .map(|c| if c == ' ' { '-' } else { c })
            .collect();
        let number = seen.entry(slug.clone()).or_default();
        *number += 1;
        if *number == 1 { slug } else { format!("{slug}-{}", *number - 1) }
    });
    headings.collect()
}

fn read(path: &str) -> Option<String> {
    fs::read_to_string(Path::new(ROOT).join(path)).ok()
}

#[test]
fn dead_links_are_found() {
    let check = |target| check("docs/how-to/rust.md", target);
    assert_eq!(check("python.md"), Ok(()));
    assert_eq!(check("../reference/http.md#the-stream"), Ok(()));
    assert_eq!(check("https://github.com/sse-bus/sse-bus/blob/main/SECURITY.md#trust"), Ok(()));
    assert_eq!(check("https://example.org/anything"), Ok(()));
    for dead in ["nothing.md", "python.md#nothing", "#nothing", "../../../README.md", "../../SECURITY.md"] {
        assert!(check(dead).is_err(), "{dead}");
    }
    assert!(check("https://github.com/sse-bus/sse-bus/blob/main/nothing.md").is_err());
    assert_eq!(targets("[a](b.md) `[no](link)`\n```text\n[no](link)\n```\n<img src=\"c.png\">"), ["b.md", "c.png"]);
    assert_eq!(anchors("# A `b`: c\n## A b c\n```sh\n# no\n```\n"), ["a-b-c", "a-b-c-1"]);
}
