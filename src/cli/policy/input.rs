//! What the commands about policies read: files of sane size, standard input, requests from flags.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use super::super::failure::Failure;
use super::super::node_file::{self, unreadable};
use crate::audit::catalog;
use crate::audit::evaluate::Attributes;

/// No policy is larger.
const MAX_POLICY: u64 = 16 << 20;

/// No request line is longer.
const MAX_LINE: usize = 1 << 20;

/// Reads a policy: a regular file (with `node:` in front: one of the active lab's node) or standard
/// input, up to 16 MiB.
pub(super) fn read(file: &str) -> anyhow::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if file == "-" {
        io::stdin()
            .lock()
            .take(MAX_POLICY + 1)
            .read_to_end(&mut bytes)?;
    } else {
        let opened = open(file)?;
        opened
            .take(MAX_POLICY + 1)
            .read_to_end(&mut bytes)
            .map_err(|error| unreadable(file, &error))?;
    }
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > MAX_POLICY {
        let file = super::render::plain(file);
        return Err(Failure::input(format!(
            "`{file}` is larger than 16 MiB: that is no audit policy"
        ))
        .into());
    }
    Ok(bytes)
}

/// Opens a regular file. Others are refused before they are opened: a named pipe would block.
fn open(file: &str) -> anyhow::Result<Box<dyn Read>> {
    if let Some(path) = node_file::on_node(file) {
        return node_file::open(node_file::node()?.as_ref(), path, file);
    }
    let metadata = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?;
    node_file::regular(file, metadata.is_file(), metadata.is_dir())?;
    let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
    Ok(Box::new(opened))
}

/// Opens a file of requests, or standard input.
pub(super) fn lines(file: &str) -> anyhow::Result<Box<dyn BufRead>> {
    if file == "-" {
        return Ok(Box::new(io::stdin().lock()));
    }
    // Requests may well come from a pipe (`<(jq ...)`); a directory cannot.
    let metadata = std::fs::metadata(file).map_err(|error| unreadable(file, &error))?;
    if metadata.is_dir() {
        return Err(unreadable(file, &io::ErrorKind::IsADirectory.into()));
    }
    let opened = File::open(file).map_err(|error| unreadable(file, &error))?;
    Ok(Box::new(BufReader::new(opened)))
}

/// Reads a line; false at the end.
pub(super) fn line(reader: &mut dyn BufRead, into: &mut Vec<u8>) -> io::Result<bool> {
    let limit = u64::try_from(MAX_LINE).unwrap_or(u64::MAX) + 1;
    let read = reader.take(limit).read_until(b'\n', into)?;
    if into.len() > MAX_LINE {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "a line is longer than 1 MiB",
        ));
    }
    Ok(read > 0)
}

/// The request that flags describe, without user, namespace and name.
pub(super) fn request(
    verb: &str,
    resource: Option<&str>,
    subresource: Option<&str>,
    api_group: Option<&str>,
    path: Option<&str>,
) -> anyhow::Result<Attributes> {
    let Some(resource) = resource else {
        let Some(path) = path else {
            let failure = Failure::usage("what is requested? give `--resource` or `--path`");
            return Err(failure.hint("ckslab policy explain --help").into());
        };
        return Ok(Attributes {
            verb: verb.to_owned(),
            path: path.to_owned(),
            ..Attributes::default()
        });
    };
    let (resource, given) = match resource.split_once('/') {
        Some((resource, sub)) => (resource, Some(sub)),
        None => (resource, None),
    };
    let groups = catalog::groups_of(resource);
    let group = api_group.or(groups.first().copied()).unwrap_or_default();
    let version = catalog::find(group, resource).map_or("v1", |resource| resource.version.as_str());
    Ok(Attributes {
        verb: verb.to_owned(),
        api_group: group.to_owned(),
        api_version: version.to_owned(),
        resource: resource.to_owned(),
        subresource: subresource.or(given).unwrap_or_default().to_owned(),
        resource_request: true,
        ..Attributes::default()
    })
}

/// The groups of a user: those given, or else those the API server would give.
pub(super) fn groups(user: &str, given: &[String]) -> Vec<String> {
    if !given.is_empty() {
        return given.to_vec();
    }
    crate::audit::compare::implied_groups(user)
}
