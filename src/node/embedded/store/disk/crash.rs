//! The end of the process between any two writes to the file: commits and compactions are there as a whole or not
//! at all, and nothing that was acknowledged is gone.

use serde_json::json;

use super::*;

/// What was done to the file.
#[derive(Debug, Clone)]
enum Done {
    Write(u64, Vec<u8>),
    Length(u64),
    /// This was acknowledged: all keys with their values.
    Acknowledged(Vec<(String, u64)>),
}

/// A file in memory that remembers what was done to it.
#[derive(Debug, Clone, Default)]
struct Watched(Arc<Mutex<(Vec<u8>, Vec<Done>)>>);

impl Watched {
    fn with<T>(&self, f: impl FnOnce(&mut (Vec<u8>, Vec<Done>)) -> T) -> T {
        f(&mut self.0.lock().unwrap())
    }
}

fn apply(file: &mut Vec<u8>, done: &Done) {
    match done {
        Done::Write(offset, data) => {
            let start = usize::try_from(*offset).unwrap();
            file[start..start + data.len()].copy_from_slice(data);
        }
        Done::Length(length) => file.resize(usize::try_from(*length).unwrap(), 0),
        Done::Acknowledged(_) => {}
    }
}

impl StorageBackend for Watched {
    fn len(&self) -> Result<u64, io::Error> {
        Ok(self.with(|(file, _)| file.len() as u64))
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let start = usize::try_from(offset).unwrap();
        self.with(|(file, _)| out.copy_from_slice(&file[start..start + out.len()]));
        Ok(())
    }

    fn set_len(&self, length: u64) -> Result<(), io::Error> {
        self.record(Done::Length(length));
        Ok(())
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        self.record(Done::Write(offset, data.to_vec()));
        Ok(())
    }
}

impl Watched {
    fn record(&self, done: Done) {
        self.with(|(file, all)| {
            apply(file, &done);
            all.push(done);
        });
    }
}

fn write(key: usize, revision: u64, is_there: bool) -> Write {
    let value = json!({"n": revision, "data": "x".repeat(3000)});
    Write {
        json: value.to_string().into_bytes(),
        change: Change {
            revision,
            key: format!("/{key:03}"),
            before: None,
            before_revision: 0,
            after: is_there.then(|| Arc::new(value)),
        },
    }
}

/// The keys of a memory with the revisions of their values.
fn content(memory: &Memory) -> Vec<(String, u64)> {
    let all = memory.list("/");
    all.into_iter()
        .map(|stored| (stored.key, stored.revision))
        .collect()
}

#[test]
fn whenever_the_process_ends_what_was_acknowledged_is_there() {
    const KEYS: usize = 300;
    let backend = Watched::default();
    let mut database = database_in(backend.clone()).unwrap();
    let mut memory = load(&database, 0).unwrap();
    let acknowledge = |memory: &mut Memory, database: &Database, writes: Vec<Write>| {
        commit(database, &writes).unwrap();
        for write in writes {
            memory.apply(write.change, write.json.len());
        }
        backend.record(Done::Acknowledged(content(memory)));
    };
    let mut revision = 0;
    let mut next = || {
        revision += 1;
        revision
    };
    for some in (0..KEYS).collect::<Vec<_>>().chunks(20) {
        let writes = some.iter().map(|key| write(*key, next(), true)).collect();
        acknowledge(&mut memory, &database, writes);
    }
    // Holes everywhere.
    for key in (0..KEYS).filter(|key| key % 10 != 9) {
        let writes = vec![write(key, next(), false)];
        if key % 30 == 0 {
            acknowledge(&mut memory, &database, writes);
        } else {
            commit(&database, &writes).unwrap();
            memory.apply(writes[0].change.clone(), 0);
        }
    }
    backend.record(Done::Acknowledged(content(&memory)));
    let (before, mut tail) =
        backend.with(|(file, all)| (file.len(), all.split_off(all.len() - 40)));
    let mut image = Vec::new();
    backend.with(|(_, all)| all.iter().for_each(|done| apply(&mut image, done)));
    backend.with(|(_, all)| all.clear());
    while database.compact().unwrap() {}
    acknowledge(&mut memory, &database, vec![write(5, next(), true)]);
    let after = backend.with(|(file, all)| {
        tail.append(all);
        file.len()
    });
    assert!(after * 3 < before, "{before} bytes, then {after}");

    let mut known = Vec::new();
    let mut opened = 0;
    for (at, done) in tail.iter().enumerate() {
        apply(&mut image, done);
        let next = tail[at..].iter().find_map(|done| match done {
            Done::Acknowledged(content) => Some(content),
            _ => None,
        });
        if let Done::Acknowledged(content) = done {
            known.clone_from(content);
        }
        if known.is_empty() {
            continue;
        }
        let file = Watched::default();
        file.with(|(bytes, _)| bytes.clone_from(&image));
        let found = content(&load(&database_in(file).unwrap(), 0).unwrap());
        assert!(
            found == known || Some(&found) == next,
            "after {at} of {} writes: {found:?}",
            tail.len()
        );
        opened += 1;
    }
    assert!(opened > 50, "{opened} ends");
}
