//! Commands that change files: `cp`, `mv`, `rm`, `mkdir`, `touch`, `chmod`, `ln`, `tee`.

use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use super::{Run, absolute};
use crate::node::embedded::confine::Confined;

impl Run<'_, '_> {
    /// Source operands and the destination; a directory takes them under their own names.
    fn targets(&mut self) -> Option<Vec<(String, String)>> {
        let mut operands = std::mem::take(&mut self.line.operands);
        let Some(destination) = operands.pop().filter(|_| !operands.is_empty()) else {
            self.usage("missing operand");
            return None;
        };
        let to = absolute(&destination);
        let is_dir = self.node.metadata(&to).is_ok_and(|meta| meta.is_dir());
        if operands.len() > 1 && !is_dir {
            self.usage(&format!("target '{destination}' is not a directory"));
            return None;
        }
        Some(
            operands
                .into_iter()
                .map(|from| {
                    let name = from.trim_end_matches('/').rsplit('/').next().unwrap_or("");
                    let to = if is_dir {
                        format!("{}/{name}", to.trim_end_matches('/'))
                    } else {
                        to.clone()
                    };
                    (from, to)
                })
                .collect(),
        )
    }

    pub(super) fn cp(&mut self) -> io::Result<()> {
        let recursive = self.line.has(&["r", "R", "a", "recursive", "archive"]);
        for (from, to) in self.targets().unwrap_or_default() {
            let source = absolute(&from);
            if let Err(error) = copy(self.node, &source, &to, recursive, 0) {
                self.failed(&from, &error);
            }
        }
        Ok(())
    }

    pub(super) fn mv(&mut self) -> io::Result<()> {
        for (from, to) in self.targets().unwrap_or_default() {
            if let Err(error) = self.node.rename(&absolute(&from), &to) {
                self.failed(&from, &error);
            }
        }
        Ok(())
    }

    pub(super) fn rm(&mut self) -> io::Result<()> {
        let recursive = self.line.has(&["r", "R", "recursive"]);
        let force = self.line.has(&["f", "force"]);
        for operand in std::mem::take(&mut self.line.operands) {
            let path = absolute(&operand);
            let removed = match self.node.symlink_metadata(&path) {
                Ok(metadata) if metadata.is_dir() && !recursive => {
                    Err(rustix::io::Errno::ISDIR.into())
                }
                Ok(_) => self.node.remove_all(&path),
                Err(error) if force && error.kind() == io::ErrorKind::NotFound => Ok(()),
                Err(error) => Err(error),
            };
            if let Err(error) = removed {
                self.failed(&operand, &error);
            }
        }
        Ok(())
    }

    pub(super) fn mkdir(&mut self) -> io::Result<()> {
        let parents = self.line.has(&["p", "parents"]);
        for operand in std::mem::take(&mut self.line.operands) {
            let path = absolute(&operand);
            let parent = path
                .trim_end_matches('/')
                .rsplit_once('/')
                .map_or("/", |p| p.0);
            let made = if !parents && self.node.exists(&path) {
                Err(rustix::io::Errno::EXIST.into())
            } else if !parents && !parent.is_empty() && !self.node.exists(parent) {
                Err(rustix::io::Errno::NOENT.into())
            } else {
                self.node.create_dir_all(&path, 0o755)
            };
            if let Err(error) = made {
                self.failed(&operand, &error);
            }
        }
        Ok(())
    }

    pub(super) fn touch(&mut self) -> io::Result<()> {
        for operand in std::mem::take(&mut self.line.operands) {
            let touched = self
                .node
                .append(&absolute(&operand), 0o644)
                .and_then(|file| file.set_modified(std::time::SystemTime::now()));
            if let Err(error) = touched {
                self.failed(&operand, &error);
            }
        }
        Ok(())
    }

    pub(super) fn chmod(&mut self) -> io::Result<()> {
        let operands = std::mem::take(&mut self.line.operands);
        let Some((mode, paths)) = operands.split_first() else {
            self.usage("missing operand");
            return Ok(());
        };
        let Some(mode) = u32::from_str_radix(mode, 8).ok().filter(|m| *m <= 0o7777) else {
            self.usage(&format!("only octal modes can be used here, not '{mode}'"));
            return Ok(());
        };
        for path in paths {
            if let Err(error) = self.node.set_mode(&absolute(path), mode) {
                self.failed(path, &error);
            }
        }
        Ok(())
    }

    pub(super) fn ln(&mut self) -> io::Result<()> {
        let symbolic = self.line.has(&["s"]);
        let force = self.line.has(&["f"]);
        let operands = std::mem::take(&mut self.line.operands);
        let [target, link] = operands.as_slice() else {
            self.usage("two operands are needed");
            return Ok(());
        };
        if !symbolic {
            self.usage("only symbolic links can be made here (ln -s)");
            return Ok(());
        }
        let path = absolute(link);
        if force {
            let _ = self.node.remove_file(&path);
        }
        if let Err(error) = self.node.symlink(target, &path) {
            self.failed(link, &error);
        }
        Ok(())
    }

    pub(super) fn tee(&mut self) -> io::Result<()> {
        let append = self.line.has(&["a", "append"]);
        let mut bytes = Vec::new();
        self.streams.stdin.read_to_end(&mut bytes)?;
        self.streams.stdout.write_all(&bytes)?;
        for operand in std::mem::take(&mut self.line.operands) {
            let path = absolute(&operand);
            let written = if append {
                self.node
                    .append(&path, 0o644)
                    .and_then(|mut file| file.write_all(&bytes))
            } else {
                let mode = self
                    .node
                    .metadata(&path)
                    .map_or(0o644, |meta| meta.permissions().mode() & 0o7777);
                self.node.write_atomic(&path, &bytes, mode)
            };
            if let Err(error) = written {
                self.failed(&operand, &error);
            }
        }
        Ok(())
    }
}

fn copy(node: &Confined, from: &str, to: &str, recursive: bool, depth: usize) -> io::Result<()> {
    let metadata = node.metadata(from)?;
    if metadata.is_dir() {
        // A directory copied into itself would never end.
        let into_itself = to.starts_with(&format!("{}/", from.trim_end_matches('/')));
        if !recursive || into_itself || depth > 64 {
            return Err(rustix::io::Errno::ISDIR.into());
        }
        node.create_dir_all(to, metadata.permissions().mode() & 0o7777)?;
        for name in node.list(from)? {
            copy(
                node,
                &format!("{from}/{name}"),
                &format!("{to}/{name}"),
                recursive,
                depth + 1,
            )?;
        }
        return Ok(());
    }
    let content = node.read(from, 1 << 30)?;
    node.write_atomic(to, &content, metadata.permissions().mode() & 0o7777)
}
