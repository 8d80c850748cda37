//! The error codes, with the HTTP status and the exit code that follow from each. The mappings are private to the two
//! programs, so they are read from the source.

use std::collections::HashMap;

use super::regex;

const CODES: &str = include_str!("../../../src/protocol/error.rs");
const HTTP: &str = include_str!("../../../daemon/http/error.rs");
const EXIT: &str = include_str!("../../../ctl/exit.rs");

pub(super) fn table() -> String {
    let statuses = Mapping::read(HTTP, "fn from(refused: Refused)");
    let exits = Mapping::read(EXIT, "fn of_code(");
    let numbers: HashMap<String, String> = regex(r"(?m)^    ([A-Z]\w+) = (\d+),$")
        .captures_iter(EXIT)
        .map(|exit| (exit[1].to_owned(), exit[2].to_owned()))
        .collect();
    let rows: Vec<Vec<String>> = regex(r#"(?m)^ +/// (.+)\n +([A-Z]\w+) = "(\w+)",$"#)
        .captures_iter(CODES)
        .map(|code| {
            let (meaning, name, text) = (&code[1], &code[2], &code[3]);
            let exit = exits.of(name, text);
            let exit = numbers.get(exit).unwrap_or_else(|| panic!("no exit code {exit}"));
            vec![format!("`{text}`"), status(statuses.of(name, text)).to_owned(), exit.clone(), meaning.to_owned()]
        })
        .collect();
    assert_eq!(rows.len(), CODES.matches(" = \"").count(), "each error code has a line of documentation");
    super::table(&["code", "HTTP status", "exit code", "meaning"], rows)
}

/// A `match` over error codes.
struct Mapping {
    arms: HashMap<String, String>,
    limit: String,
    default: String,
}

impl Mapping {
    fn read(source: &str, function: &str) -> Mapping {
        let (_, rest) = source.split_once(function).unwrap_or_else(|| panic!("no `{function}`"));
        let (body, _) = rest.split_once("\n}").expect("the end of the function");
        let mut arms = HashMap::new();
        for arm in regex(r"((?:\|?\s*ErrorCode::\w+\s*)+)=>\s*\{?\s*\w+::(\w+)").captures_iter(body) {
            for name in regex(r"ErrorCode::(\w+)").captures_iter(&arm[1]) {
                arms.insert(name[1].to_owned(), arm[2].to_owned());
            }
        }
        let one = |pattern: &str| {
            regex(pattern).captures(body).unwrap_or_else(|| panic!("no {pattern} in {body}"))[1].to_owned()
        };
        Mapping { arms, limit: one(r"code if code\.is_limit\(\) => \w+::(\w+)"), default: one(r"_ => \w+::(\w+)") }
    }

    fn of(&self, name: &str, text: &str) -> &str {
        let other = if text.starts_with("limit_") { &self.limit } else { &self.default };
        self.arms.get(name).unwrap_or(other)
    }
}

fn status(name: &str) -> &'static str {
    match name {
        "BAD_REQUEST" => "400",
        "FORBIDDEN" => "403",
        "NOT_FOUND" => "404",
        "CONFLICT" => "409",
        "PAYLOAD_TOO_LARGE" => "413",
        "TOO_MANY_REQUESTS" => "429",
        "BAD_GATEWAY" => "502",
        "SERVICE_UNAVAILABLE" => "503",
        "GATEWAY_TIMEOUT" => "504",
        other => panic!("no number for the status {other}"),
    }
}
