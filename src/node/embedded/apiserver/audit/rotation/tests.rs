//! What happens to the files of the log, through the file system of a container.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

use super::*;
use crate::audit::options::AuditOptions;
use crate::node::embedded::runtime::rootfs::Mount;

/// The lines a process wrote to its standard streams.
#[derive(Default)]
struct Streams(Mutex<Vec<String>>);

impl Output for Streams {
    fn stdout(&self, line: &str) {
        self.0.lock().unwrap().push(format!("stdout {line}"));
    }
    fn stderr(&self, line: &str) {
        self.0.lock().unwrap().push(format!("stderr {line}"));
    }
}

struct Place {
    directory: tempfile::TempDir,
    rootfs: Arc<Rootfs>,
    output: Arc<Streams>,
}

const LOG: &str = "/logs/audit.log";
/// With this many lines a file of 1 MiB is full.
const FULL: usize = 16;

/// A line of which 16 fill 1 MiB exactly.
fn line() -> Vec<u8> {
    let mut line = vec![b'x'; 65_535];
    line.push(b'\n');
    line
}

impl Place {
    fn new() -> Self {
        let mount = Mount {
            name: "logs".to_owned(),
            container_path: "/logs".to_owned(),
            node_path: "/logs".to_owned(),
            read_only: false,
        };
        Self::with(mount, |root| {
            std::fs::create_dir_all(root.join("logs")).unwrap();
        })
    }

    fn with(mount: Mount, prepare: impl Fn(&std::path::Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        prepare(directory.path());
        let layer = directory.path().join("layer");
        std::fs::create_dir_all(&layer).unwrap();
        let root = directory.path().to_path_buf();
        let rootfs = Arc::new(Rootfs::new(root, layer, vec![mount]));
        rootfs.prepare().unwrap();
        Self {
            directory,
            rootfs,
            output: Arc::default(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join("logs").join(name)
    }

    fn options(arguments: &[&str]) -> LogOptions {
        let argv: Vec<String> = std::iter::once("kube-apiserver")
            .chain(arguments.iter().copied())
            .map(str::to_owned)
            .collect();
        AuditOptions::from_argv(&argv).unwrap().log
    }

    /// The log of these arguments, as start-up leaves it.
    fn log(&self, arguments: &[&str]) -> Rotating {
        let mut all = vec!["--audit-log-path=/logs/audit.log", "--audit-log-maxsize=1"];
        all.extend(arguments);
        let options = Self::options(&all);
        ensure(&self.rootfs, &options.path).unwrap();
        Rotating::new(self.rootfs.clone(), &options, self.output.clone())
    }

    /// Sizes by name; names of rotated files without their time.
    fn files(&self) -> BTreeMap<String, Vec<u64>> {
        let mut out: BTreeMap<String, Vec<u64>> = BTreeMap::new();
        for entry in std::fs::read_dir(self.path("")).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let shown = match backup::rotated_at(LOG, &name) {
                Some(_) if name.ends_with(".gz") => "audit-TIME.log.gz".to_owned(),
                Some(_) => "audit-TIME.log".to_owned(),
                None => name,
            };
            out.entry(shown)
                .or_default()
                .push(std::fs::metadata(entry.path()).map_or(0, |m| m.len()));
        }
        out
    }
}

/// Writes lines, no two within one millisecond, and waits for what happens to rotated files.
fn write(log: &mut Rotating, lines: usize) {
    for _ in 0..lines {
        log.write(&line()).unwrap();
        let now = Timestamp::now().as_millisecond();
        while Timestamp::now().as_millisecond() == now {
            std::hint::spin_loop();
        }
    }
    settle(log);
}

fn settle(log: &Rotating) {
    while !log.mill.is_idle() {
        std::thread::yield_now();
    }
}

fn files<const N: usize>(files: [(&str, &[u64]); N]) -> BTreeMap<String, Vec<u64>> {
    files
        .into_iter()
        .map(|(name, sizes)| (name.to_owned(), sizes.to_vec()))
        .collect()
}

const MIB: u64 = 1024 * 1024;

#[test]
fn the_file_is_rotated_before_it_passes_its_size() {
    let place = Place::new();
    let mut log = place.log(&[]);
    write(&mut log, FULL);
    assert_eq!(place.files(), files([("audit.log", &[MIB])]));
    write(&mut log, FULL + 1);
    assert_eq!(
        place.files(),
        files([("audit-TIME.log", &[MIB, MIB]), ("audit.log", &[65_536])])
    );
    assert_eq!(
        log.write(&vec![b'x'; 1_048_577]),
        Err("write length 1048577 exceeds maximum file size 1048576".to_owned())
    );
}

#[test]
fn a_start_rotates_a_file_that_the_line_would_fill() {
    // One byte less than the limit is left to it only while it is open.
    let place = Place::new();
    std::fs::write(place.path("audit.log"), vec![b'x'; 15 * 65_536]).unwrap();
    let mut log = place.log(&[]);
    write(&mut log, 1);
    assert_eq!(
        place.files(),
        files([("audit-TIME.log", &[15 * 65_536]), ("audit.log", &[65_536])])
    );
}

#[test]
fn surplus_and_old_files_go() {
    let place = Place::new();
    for name in [
        "audit-2020-01-01T00-00-00.000.log",
        "audit-notes.log",
        "other-2020-01-01T00-00-00.000.log",
    ] {
        std::fs::write(place.path(name), "x").unwrap();
    }
    std::fs::create_dir(place.path("audit-2020-01-02T00-00-00.000.log")).unwrap();
    let mut log = place.log(&["--audit-log-maxbackup=2", "--audit-log-maxage=30"]);
    assert!(place.path("audit-2020-01-01T00-00-00.000.log").exists());
    write(&mut log, 1);
    assert!(!place.path("audit-2020-01-01T00-00-00.000.log").exists());
    write(&mut log, 4 * FULL);
    let found = place.files();
    // The directory is no file.
    assert_eq!(found["audit-TIME.log"].len(), 3);
    assert!(place.path("audit-2020-01-02T00-00-00.000.log").is_dir());
    assert!(found.contains_key("audit-notes.log"));
    assert!(found.contains_key("other-2020-01-01T00-00-00.000.log"));
}

#[test]
fn a_file_and_its_compressed_form_count_once() {
    let place = Place::new();
    for name in [
        "audit-2026-01-03T00-00-00.000.log",
        "audit-2026-01-03T00-00-00.000.log.gz",
        "audit-2026-01-02T00-00-00.000.log.gz",
        "audit-2026-01-01T00-00-00.000.log",
    ] {
        std::fs::write(place.path(name), "x").unwrap();
    }
    let mut log = place.log(&["--audit-log-maxbackup=2", "--audit-log-maxage=0"]);
    write(&mut log, 1);
    assert_eq!(
        place.files(),
        files([
            ("audit-TIME.log", &[1]),
            ("audit-TIME.log.gz", &[1, 1]),
            ("audit.log", &[65_536])
        ])
    );
    assert!(!place.path("audit-2026-01-01T00-00-00.000.log").exists());
}

#[test]
fn an_age_that_overflows_makes_everything_old() {
    let place = Place::new();
    let yesterday = Timestamp::now() - jiff::SignedDuration::from_hours(24);
    let name = backup::name(LOG, yesterday);
    let name = name.rsplit('/').next().unwrap();
    for (age, kept) in [("106751", true), ("200000", false)] {
        std::fs::write(place.path(name), "x").unwrap();
        let mut log = place.log(&[&format!("--audit-log-maxage={age}")]);
        write(&mut log, 1);
        assert_eq!(place.path(name).exists(), kept, "{age}");
    }
}

#[test]
fn rotated_files_are_compressed_with_their_mode() {
    let place = Place::new();
    let mut log = place.log(&["--audit-log-compress"]);
    let private = std::fs::Permissions::from_mode(0o640);
    std::fs::set_permissions(place.path("audit.log"), private).unwrap();
    write(&mut log, FULL + 1);
    let found = place.files();
    assert_eq!(found["audit-TIME.log.gz"].len(), 1);
    assert_eq!(found["audit.log"], [65_536]);
    assert_eq!(found.len(), 2);
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let metadata = entry.unwrap().metadata().unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, 0o640);
    }
}

#[test]
fn what_an_interrupted_compression_left_is_replaced_at_the_next_start() {
    let place = Place::new();
    let name = "audit-2026-11-01T00-00-00.000.log";
    let text = "one line\n".repeat(100_000);
    std::fs::write(place.path(name), &text).unwrap();
    std::fs::write(place.path(&format!("{name}.gz")), "half of someth").unwrap();
    let mut log = place.log(&["--audit-log-compress", "--audit-log-maxage=0"]);
    write(&mut log, 1);
    assert!(!place.path(name).exists());
    let file = File::open(place.path(&format!("{name}.gz"))).unwrap();
    let mut read = String::new();
    io::Read::read_to_string(&mut flate2::read::GzDecoder::new(file), &mut read).unwrap();
    assert_eq!(read, text);
}

#[test]
fn a_deleted_file_comes_back_with_the_next_rotation() {
    let place = Place::new();
    let mut log = place.log(&[]);
    write(&mut log, 2);
    std::fs::remove_file(place.path("audit.log")).unwrap();
    write(&mut log, FULL - 2);
    assert!(place.files().is_empty());
    write(&mut log, 1);
    assert_eq!(place.files(), files([("audit.log", &[65_536])]));
}

#[test]
fn a_moved_file_is_written_on() {
    let place = Place::new();
    let mut log = place.log(&[]);
    write(&mut log, 1);
    std::fs::rename(place.path("audit.log"), place.path("audit.log.1")).unwrap();
    write(&mut log, 1);
    assert_eq!(place.files(), files([("audit.log.1", &[131_072])]));
    // Whatever is there by then is taken for the old log.
    std::fs::write(place.path("audit.log"), "new").unwrap();
    write(&mut log, FULL - 1);
    assert_eq!(
        place.files(),
        files([
            ("audit-TIME.log", &[3]),
            ("audit.log", &[65_536]),
            ("audit.log.1", &[MIB])
        ])
    );
}

#[test]
fn a_truncated_file_goes_on_at_its_end_only_before_the_first_rotation() {
    let place = Place::new();
    let mut log = place.log(&[]);
    write(&mut log, 2);
    std::fs::write(place.path("audit.log"), "").unwrap();
    write(&mut log, 1);
    assert_eq!(place.files(), files([("audit.log", &[65_536])]));
    // The count goes on, so the rotated file is small.
    write(&mut log, FULL - 2);
    assert_eq!(
        place.files(),
        files([("audit-TIME.log", &[14 * 65_536]), ("audit.log", &[65_536])])
    );
    // The new file was not opened for appending: zero bytes fill the gap.
    std::fs::write(place.path("audit.log"), "").unwrap();
    write(&mut log, 1);
    let content = std::fs::read(place.path("audit.log")).unwrap();
    assert_eq!(content.len(), 131_072);
    assert!(content[..65_536].iter().all(|byte| *byte == 0));
    assert_eq!(content[65_536..], line());
}

#[test]
fn the_new_file_has_the_mode_of_the_old_one_less_the_umask() {
    for (mode, new) in [
        (0o640, 0o640),
        (0o644, 0o644),
        (0o666, 0o644),
        (0o660, 0o640),
    ] {
        let place = Place::new();
        std::fs::write(place.path("audit.log"), vec![b'x'; 2 << 20]).unwrap();
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(place.path("audit.log"), permissions).unwrap();
        let mut log = place.log(&[]);
        assert_eq!(place.files(), files([("audit.log", &[2 << 20])]));
        write(&mut log, 1);
        assert_eq!(
            place.files(),
            files([("audit-TIME.log", &[2 << 20]), ("audit.log", &[65_536])])
        );
        let metadata = std::fs::metadata(place.path("audit.log")).unwrap();
        assert_eq!(metadata.permissions().mode() & 0o7777, new, "{mode:o}");
    }
}

#[test]
fn a_removed_directory_is_made_again() {
    let place = Place::new();
    let options = [
        "--audit-log-path=/logs/a/b/audit.log",
        "--audit-log-maxsize=1",
    ];
    let mut log = place.log(&options);
    let mode = |path: &str| {
        let metadata = std::fs::metadata(place.path(path)).unwrap();
        metadata.permissions().mode() & 0o7777
    };
    assert_eq!(
        (mode("a"), mode("a/b"), mode("a/b/audit.log")),
        (0o700, 0o700, 0o600)
    );
    std::fs::remove_dir_all(place.path("a")).unwrap();
    write(&mut log, 1);
    assert_eq!(
        (mode("a"), mode("a/b"), mode("a/b/audit.log")),
        (0o755, 0o755, 0o600)
    );
    // Once open, the file is missed only by the next rotation.
    std::fs::remove_dir_all(place.path("a")).unwrap();
    write(&mut log, FULL - 1);
    assert!(!place.path("a").exists());
    write(&mut log, 1);
    assert_eq!(mode("a/b/audit.log"), 0o600);
    // A file in its place stops the rotation.
    std::fs::remove_dir_all(place.path("a")).unwrap();
    std::fs::write(place.path("a"), "").unwrap();
    write(&mut log, FULL - 1);
    assert_eq!(
        log.write(&line()),
        Err("can't make directories for new logfile: mkdir /logs/a: not a directory".to_owned())
    );
    assert_eq!(
        log.write(&line()),
        Err("error getting log file info: stat /logs/a/b/audit.log: not a directory".to_owned())
    );
}

#[test]
fn a_file_that_is_mounted_itself_cannot_be_rotated() {
    let mount = Mount {
        name: "log".to_owned(),
        container_path: LOG.to_owned(),
        node_path: "/logs/audit.log".to_owned(),
        read_only: false,
    };
    let place = Place::with(mount, |root| {
        std::fs::create_dir_all(root.join("logs")).unwrap();
        std::fs::write(root.join("logs/audit.log"), "").unwrap();
    });
    let mut log = place.log(&[]);
    write(&mut log, FULL);
    for _ in 0..2 {
        let error = log.write(&line()).unwrap_err();
        let (start, end) = error.split_at(error.find("/logs/audit-").unwrap());
        assert_eq!(start, "can't rename log file: rename /logs/audit.log ");
        assert!(end.ends_with(".log: device or resource busy"), "{error}");
    }
    assert_eq!(place.files(), files([("audit.log", &[MIB])]));
    // Somebody empties it: then it is written again.
    File::options()
        .write(true)
        .truncate(true)
        .open(place.path("audit.log"))
        .unwrap();
    write(&mut log, 1);
    assert_eq!(place.files(), files([("audit.log", &[65_536])]));
}

#[test]
fn a_link_is_rotated_itself() {
    let place = Place::new();
    std::os::unix::fs::symlink("elsewhere", place.path("audit.log")).unwrap();
    let mut log = place.log(&[]);
    write(&mut log, FULL);
    assert_eq!(place.files()["elsewhere"], [MIB]);
    write(&mut log, 1);
    let metadata = std::fs::symlink_metadata(place.path("audit.log")).unwrap();
    assert!(metadata.is_file());
    assert_eq!(
        place.files(),
        files([
            ("audit-TIME.log", &[MIB]),
            ("audit.log", &[65_536]),
            ("elsewhere", &[MIB])
        ])
    );
}

#[test]
fn a_link_does_not_lead_out_of_the_container() {
    let place = Place::new();
    let outside = tempfile::tempdir().unwrap();
    let target = outside.path().join("audit.log");
    std::os::unix::fs::symlink(&target, place.path("audit.log")).unwrap();
    let options = Place::options(&["--audit-log-path=/logs/audit.log"]);
    let error = ensure(&place.rootfs, &options.path).unwrap_err();
    assert_eq!(error, "open /logs/audit.log: no such file or directory");
    assert!(!target.exists());
}

#[test]
fn devices_are_no_files() {
    let place = Place::new();
    std::os::unix::fs::symlink("/dev/full", place.path("full.log")).unwrap();
    for (path, result, shown) in [
        ("/dev/stdout", Ok(()), vec!["stdout text"]),
        ("/dev/fd/1", Ok(()), vec!["stdout text"]),
        ("/proc/self/fd/2", Ok(()), vec!["stderr text"]),
        ("/dev/stderr", Ok(()), vec!["stderr text"]),
        ("/dev/null", Ok(()), vec![]),
        (
            "/logs/full.log",
            Err("write /logs/full.log: no space left on device".to_owned()),
            vec![],
        ),
    ] {
        place.output.0.lock().unwrap().clear();
        let path = format!("--audit-log-path={path}");
        for size in ["--audit-log-maxsize=0", "--audit-log-maxsize=1"] {
            place.output.0.lock().unwrap().clear();
            let options = Place::options(&[&path, size]);
            ensure(&place.rootfs, &options.path).unwrap();
            let rootfs = place.rootfs.clone();
            let written = if options.max_size == 0 {
                Plain::new(&rootfs, &options, place.output.clone()).write(b"text\n")
            } else {
                Rotating::new(rootfs, &options, place.output.clone()).write(b"text\n")
            };
            assert_eq!(written, result, "{path} {size}");
            assert_eq!(*place.output.0.lock().unwrap(), shown, "{path} {size}");
        }
    }
    assert!(place.rootfs.symlink_metadata("/dev/null").is_err());
}

#[test]
fn standard_output_is_lost_after_as_much_as_a_file_holds() {
    // The server renames /dev/stdout like any other log, and writes to a file in the container.
    let place = Place::new();
    let mut log = place.log(&["--audit-log-path=/dev/stdout"]);
    write(&mut log, FULL + 1);
    assert_eq!(place.output.0.lock().unwrap().len(), FULL);
    assert_eq!(place.rootfs.metadata("/dev/stdout").unwrap().len(), 65_536);
}

#[test]
fn start_up_names_what_is_in_the_way() {
    let place = Place::new();
    std::fs::write(place.path("file"), "").unwrap();
    std::fs::create_dir(place.path("directory")).unwrap();
    std::os::unix::fs::symlink("nowhere", place.path("dangling")).unwrap();
    for (path, error) in [
        ("/logs/directory", "open /logs/directory: is a directory"),
        ("/logs/new/", "open /logs/new/: is a directory"),
        ("/logs/file/audit.log", "mkdir /logs/file: not a directory"),
        (
            "/logs/file/a/b/audit.log",
            "mkdir /logs/file: not a directory",
        ),
        (
            "/logs/./file//a/audit.log",
            "mkdir /logs/file: not a directory",
        ),
        (
            "/logs/dangling/audit.log",
            "mkdir /logs/dangling: file exists",
        ),
        ("logs/file/audit.log", "mkdir logs/file: not a directory"),
    ] {
        assert_eq!(ensure(&place.rootfs, path), Err(error.to_owned()));
    }
    let read_only = Place::with(
        Mount {
            name: "logs".to_owned(),
            container_path: "/logs".to_owned(),
            node_path: "/logs".to_owned(),
            read_only: true,
        },
        |root| std::fs::create_dir_all(root.join("logs")).unwrap(),
    );
    for (path, error) in [
        (
            "/logs/audit.log",
            "open /logs/audit.log: read-only file system",
        ),
        (
            "/logs/a/b/audit.log",
            "mkdir /logs/a: read-only file system",
        ),
    ] {
        assert_eq!(ensure(&read_only.rootfs, path), Err(error.to_owned()));
    }
}

#[test]
fn lines_of_many_writers_stay_whole() {
    let place = Place::new();
    let log = Mutex::new(place.log(&["--audit-log-maxbackup=0", "--audit-log-maxage=0"]));
    std::thread::scope(|scope| {
        for writer in 0..64u8 {
            let log = &log;
            scope.spawn(move || {
                for number in 0..40usize {
                    let mut line = vec![b'a' + writer % 26; 500 + 37 * number];
                    line.push(b'\n');
                    log.lock().unwrap().write(&line).unwrap();
                }
            });
        }
    });
    let mut lines = 0;
    for entry in std::fs::read_dir(place.path("")).unwrap() {
        let content = std::fs::read(entry.unwrap().path()).unwrap();
        assert!(content.len() as u64 <= MIB);
        for line in content.split_inclusive(|byte| *byte == b'\n') {
            let (end, text) = line.split_last().unwrap();
            assert_eq!(*end, b'\n');
            assert!(text.iter().all(|byte| byte == &text[0]));
            lines += 1;
        }
    }
    assert_eq!(lines, 64 * 40);
}
