//! The cases of `*.toml`: a table each, with what the file says for all of them.

use std::fs;
use std::path::Path;
use std::time::Duration;

use serde::Deserialize;

use super::fixture::{Fixture, Scene};
use super::script::{self, Step};
use super::want::Protocol;

/// A file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    fixture: Fixture,
    #[serde(default)]
    fresh: bool,
    #[serde(default)]
    conf: String,
    case: Vec<Table>,
}

/// A case as written. What it leaves out it has from its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Table {
    /// What it shows.
    name: String,
    /// The lines of the specification's checklists that it covers, as `commands.md 87`.
    #[serde(default)]
    #[expect(dead_code, reason = "tests/coverage reads it in the file")]
    covers: Vec<String>,
    /// What stands around the Sentinel.
    fixture: Option<Fixture>,
    /// Lines of its conf file besides those of the fixture.
    conf: Option<String>,
    /// It gets processes of its own, because it changes something that it does not put back.
    fresh: Option<bool>,
    /// 2, 3 or both, if nothing is said.
    protocols: Option<Vec<u8>>,
    /// A command for each new connection, before HELLO.
    login: Option<String>,
    /// Whether each new connection says HELLO in RESP3. Off for cases that do it themselves.
    greet: Option<bool>,
    /// A deliberate deviation from stock, and why. Stock is asked only if some lines are marked as its own.
    ours: Option<String>,
    /// The switch of `sentineld.toml` that makes the deviation.
    switch: Option<String>,
    /// What is said and done: see `script`.
    say: String,
}

/// A case, ready to be played.
#[derive(Debug)]
pub(crate) struct Case {
    pub(crate) file: String,
    pub(crate) name: String,
    pub(crate) scene: Scene,
    pub(crate) fresh: bool,
    pub(crate) protocols: Vec<Protocol>,
    pub(crate) login: Option<String>,
    pub(crate) greet: bool,
    /// Stock cannot pass it and is not asked.
    pub(crate) ours_alone: bool,
    /// The switch that makes the deviation.
    pub(crate) switch: Option<String>,
    pub(crate) steps: Vec<Step>,
    /// How long something may take to become so.
    pub(crate) patience: Duration,
}

/// Every case of every file of a folder, in order.
pub(crate) fn load(folder: &Path) -> Vec<Case> {
    let mut paths: Vec<_> = fs::read_dir(folder).expect("the cases are there").flatten().map(|e| e.path()).collect();
    paths.retain(|path| path.extension().is_some_and(|end| end == "toml"));
    paths.sort();
    let mut cases: Vec<Case> = Vec::new();
    for path in paths {
        let name = path.file_name().expect("a file").to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).expect("text");
        cases.extend(parse(&name, &text).unwrap_or_else(|error| panic!("{name}: {error}")));
    }
    for (at, case) in cases.iter().enumerate() {
        let twin = cases[..at].iter().find(|other| other.name == case.name && other.file == case.file);
        assert!(twin.is_none(), "{}: two cases are called {:?}", case.file, case.name);
    }
    cases
}

/// The cases of one file.
pub(crate) fn parse(name: &str, text: &str) -> Result<Vec<Case>, String> {
    let file: File = toml::from_str(text).map_err(|error| error.to_string())?;
    file.case.iter().map(|table| case(name, &file, table)).collect()
}

fn case(file_name: &str, file: &File, table: &Table) -> Result<Case, String> {
    let about = |error: String| format!("{:?}: {error}", table.name);
    let steps = script::parse(&table.say).map_err(about)?;
    let marked = steps.iter().any(|step| step.kind.is_some());
    if marked && table.ours.is_none() {
        return Err(about("lines for one program only need `ours = \"reason\"`".to_owned()));
    }
    let protocols = match table.protocols.as_deref() {
        None | Some([2, 3]) => vec![Protocol::Resp2, Protocol::Resp3],
        Some([2]) => vec![Protocol::Resp2],
        Some([3]) => vec![Protocol::Resp3],
        Some(other) => return Err(about(format!("no such protocols: {other:?}"))),
    };
    Ok(Case {
        file: file_name.to_owned(),
        name: table.name.clone(),
        scene: Scene {
            fixture: table.fixture.unwrap_or(file.fixture),
            conf: table.conf.clone().unwrap_or_else(|| file.conf.clone()),
        },
        fresh: table.fresh.unwrap_or(file.fresh),
        protocols,
        login: table.login.clone(),
        greet: table.greet.unwrap_or(true),
        ours_alone: table.ours.is_some() && !marked,
        switch: table.switch.clone(),
        steps,
        patience: Duration::from_secs(15),
    })
}
