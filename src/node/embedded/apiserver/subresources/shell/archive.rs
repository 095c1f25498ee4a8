//! `tar`, which is how `kubectl cp` moves files: archives on standard input and output.

use std::io::Read as _;

use super::{Outcome, Shell};

/// What a command line of tar asks for.
#[derive(Default)]
struct Request {
    creates: bool,
    extracts: bool,
    directory: Option<String>,
    operands: Vec<String>,
}

impl Request {
    fn read(arguments: &[String]) -> Self {
        let mut request = Self::default();
        let mut words = arguments.iter().enumerate();
        while let Some((index, word)) = words.next() {
            if word == "-C" || word == "--directory" {
                request.directory = words.next().map(|(_, word)| word.clone());
            } else if word.starts_with("--") {
                // Owners and modes are not kept anyway.
            } else if word.starts_with('-') && word.len() > 1 || index == 0 {
                request.creates |= word.contains('c');
                request.extracts |= word.contains('x');
                if word.contains('f') {
                    // Only `-` is ever asked for.
                    words.next();
                }
            } else {
                request.operands.push(word.clone());
            }
        }
        request
    }
}

impl Shell {
    /// Runs tar.
    pub(super) fn tar(&mut self, arguments: &[String], input: &[u8]) -> Outcome {
        let request = Request::read(arguments);
        let directory = request
            .directory
            .as_ref()
            .map_or_else(|| self.directory.clone(), |path| self.absolute(path));
        if !self.files.is_directory(&directory) {
            return Outcome::error(
                format!(
                    "tar: can't change directory to '{directory}': No such file or directory\n"
                ),
                1,
            );
        }
        if request.creates {
            return self.pack(&directory, &request.operands);
        }
        if request.extracts {
            return match self.unpack(&directory, input) {
                Ok(()) => Outcome::default(),
                Err(why) => Outcome::error(format!("tar: {why}\n"), 1),
            };
        }
        Outcome::error("tar: must specify one of -c, -x, -t\n", 1)
    }

    fn pack(&self, directory: &str, operands: &[String]) -> Outcome {
        let mut outcome = Outcome::default();
        let mut archive = tar::Builder::new(Vec::new());
        for operand in operands {
            if operand.starts_with('/') {
                outcome
                    .stderr
                    .push_str("tar: removing leading '/' from member names\n");
            }
            let root = if operand.starts_with('/') {
                self.absolute(operand)
            } else {
                self.absolute(&format!("{directory}/{operand}"))
            };
            let name = operand.trim_start_matches('/').trim_end_matches('/');
            if !self.add(&mut archive, &root, name) {
                outcome
                    .stderr
                    .push_str(&format!("tar: {operand}: No such file or directory\n"));
                outcome.code = 1;
            }
        }
        if outcome.code != 0 {
            outcome
                .stderr
                .push_str("tar: error exit delayed from previous errors\n");
        }
        outcome.stdout = archive.into_inner().unwrap_or_default();
        outcome
    }

    /// Adds what is at a path; whether there is something.
    fn add(&self, archive: &mut tar::Builder<Vec<u8>>, path: &str, name: &str) -> bool {
        let mut header = tar::Header::new_gnu();
        header.set_mtime(u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default());
        if let Some(content) = self.files.read(path) {
            header.set_mode(0o644);
            header.set_size(content.len() as u64);
            return archive
                .append_data(&mut header, name, content.as_slice())
                .is_ok();
        }
        let Some(names) = self.files.names(path) else {
            return false;
        };
        header.set_mode(0o755);
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Directory);
        let _ = archive.append_data(&mut header, format!("{name}/"), std::io::empty());
        for below in names {
            self.add(
                archive,
                &format!("{}/{below}", path.trim_end_matches('/')),
                &format!("{name}/{below}"),
            );
        }
        true
    }

    fn unpack(&mut self, directory: &str, input: &[u8]) -> Result<(), String> {
        let mut archive = tar::Archive::new(input);
        let entries = archive.entries().map_err(|_| "short read".to_owned())?;
        for entry in entries {
            let mut entry = entry.map_err(|_| "short read".to_owned())?;
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            // Paths that lead out of the directory lead nowhere but to the container's own files.
            let path = self.absolute(&format!("{directory}/{name}"));
            let refuse =
                |why: super::files::Refusal| format!("can't open '{name}': {}", why.text());
            if entry.header().entry_type().is_dir() {
                self.files.make_directory(&path).map_err(refuse)?;
            } else if entry.header().entry_type().is_file() {
                let mut content = Vec::new();
                entry
                    .read_to_end(&mut content)
                    .map_err(|_| "short read".to_owned())?;
                let parent = path.rsplit_once('/').map_or("/", |(parent, _)| parent);
                if !parent.is_empty() {
                    self.files.make_directory(parent).map_err(refuse)?;
                }
                self.files.write(&path, content).map_err(refuse)?;
            }
        }
        Ok(())
    }
}
