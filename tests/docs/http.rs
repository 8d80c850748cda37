//! The reference of HTTP names every route and every query parameter of the daemon.

use regex::Regex;

use crate::document::Document;

const PARAMETERS: &str = include_str!("../../daemon/http/parameters.rs");
const ROUTES: &str = include_str!("../../daemon/http/routes.rs");

#[test]
fn every_route_and_parameter_is_in_the_reference() {
    let page = Document::read("docs/reference/http.md".into()).text;
    let all = |pattern: &str, text: &str| -> Vec<String> {
        let pattern = Regex::new(pattern).unwrap();
        pattern.captures_iter(text).map(|found| found[1].to_owned()).collect()
    };
    // The path up to its first variable.
    let routes = all(r#"\.route\("([^"{]+)["{]"#, ROUTES);
    let rows = all(r"(?m)^        [A-Z]\w+ = (.+),$", PARAMETERS).concat();
    let names = all("\"([A-Za-z_-]+)\"", &rows);
    assert!(routes.len() >= 12 && names.len() >= 16, "{routes:?} {names:?}");
    let missing: Vec<&String> = routes.iter().filter(|route| !page.contains(route.as_str())).collect();
    assert!(missing.is_empty(), "docs/reference/http.md does not mention {missing:?}");
    let missing: Vec<&String> = names.iter().filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert!(missing.is_empty(), "docs/reference/http.md does not mention {missing:?}");
}
