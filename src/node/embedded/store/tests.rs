//! Tests of the store: against a model, across reopening, with damaged files.

use std::collections::BTreeMap;

use futures_util::StreamExt;
use proptest::prelude::*;
use serde_json::json;

use super::*;

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
}

#[derive(Debug, Clone)]
enum Step {
    Create(u8, u8),
    Update(u8, bool, u8),
    Put(u8, u8),
    Delete(u8, bool),
    Reopen,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    prop::collection::vec(
        prop_oneof![
            4 => (0u8..6, any::<u8>()).prop_map(|(k, v)| Step::Create(k, v)),
            4 => (0u8..6, any::<bool>(), any::<u8>()).prop_map(|(k, s, v)| Step::Update(k, s, v)),
            2 => (0u8..6, any::<u8>()).prop_map(|(k, v)| Step::Put(k, v)),
            3 => (0u8..6, any::<bool>()).prop_map(|(k, s)| Step::Delete(k, s)),
            1 => Just(Step::Reopen),
        ],
        0..40,
    )
}

fn key(n: u8) -> String {
    format!("/registry/core/pods/ns{}/p{n}", n % 2)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// The store does what a plain map with a counter does, also across reopening.
    #[test]
    fn behaves_like_its_model(steps in steps()) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let mut store = Store::open(&path).unwrap();
        let mut model: BTreeMap<String, (u8, u64)> = BTreeMap::new();
        let mut past: Vec<BTreeMap<String, (u8, u64)>> = vec![model.clone()];
        let mut floor = 0;
        let mut revision = 0u64;
        for step in steps {
            let before = revision;
            match step {
                Step::Create(k, v) => {
                    let result = store.commit_blocking(vec![Op::Create { key: key(k), value: Arc::new(json!(v)) }]);
                    match model.entry(key(k)) {
                        std::collections::btree_map::Entry::Occupied(_) => {
                            prop_assert!(matches!(result, Err(StoreError::Exists)));
                        }
                        std::collections::btree_map::Entry::Vacant(place) => {
                            revision += 1;
                            prop_assert_eq!(result.unwrap()[0].revision, revision);
                            place.insert((v, revision));
                        }
                    }
                }
                Step::Update(k, stale, v) => {
                    let current = model.get(&key(k)).copied();
                    let expected = current.map(|c| if stale { c.1.wrapping_sub(1) } else { c.1 });
                    let result = store.commit_blocking(vec![Op::Update { key: key(k), expected, value: Arc::new(json!(v)) }]);
                    match current {
                        None => prop_assert!(matches!(result, Err(StoreError::NotFound))),
                        Some(c) if stale => match result {
                            Err(StoreError::Conflict(now)) => prop_assert_eq!(now.revision, c.1),
                            other => prop_assert!(false, "{:?}", other),
                        },
                        Some(_) => {
                            revision += 1;
                            prop_assert_eq!(result.unwrap()[0].revision, revision);
                            model.insert(key(k), (v, revision));
                        }
                    }
                }
                Step::Put(k, v) => {
                    revision += 1;
                    store.commit_blocking(vec![Op::Put { key: key(k), value: Arc::new(json!(v)) }]).unwrap();
                    model.insert(key(k), (v, revision));
                }
                Step::Delete(k, stale) => {
                    let current = model.get(&key(k)).copied();
                    let expected = current.map(|c| if stale { c.1 + 1 } else { c.1 });
                    let result = store.commit_blocking(vec![Op::Delete { key: key(k), expected }]);
                    match current {
                        None => prop_assert!(matches!(result, Err(StoreError::NotFound))),
                        Some(_) if stale => prop_assert!(matches!(result, Err(StoreError::Conflict(_)))),
                        Some(_) => {
                            revision += 1;
                            prop_assert_eq!(result.unwrap()[0].revision, revision);
                            model.remove(&key(k));
                        }
                    }
                }
                Step::Reopen => {
                    drop(store);
                    store = Store::open(&path).unwrap();
                    floor = revision;
                }
            }
            if revision > before {
                past.push(model.clone());
            }
            prop_assert_eq!(store.revision(), revision);
            let seen: BTreeMap<String, (u8, u64)> = store.list("/registry/").0.into_iter()
                .map(|s| (s.key, (u8::try_from(s.value.as_u64().unwrap()).unwrap(), s.revision)))
                .collect();
            prop_assert_eq!(&seen, &model);
        }
        // The past is what it was, as far back as the history goes.
        for (at, model) in past.iter().enumerate() {
            let at = at as u64;
            match store.list_at("/registry/core/pods/ns1/", at) {
                Ok(list) => {
                    prop_assert!(at >= floor);
                    let seen: Vec<(String, u64)> = list.into_iter().map(|s| (s.key, s.revision)).collect();
                    let want: Vec<(String, u64)> = model.iter()
                        .filter(|(k, _)| k.contains("/ns1/"))
                        .map(|(k, v)| (k.clone(), v.1)).collect();
                    prop_assert_eq!(seen, want);
                }
                Err(error) => {
                    prop_assert!(at < floor && matches!(error, StoreError::Compacted));
                }
            }
        }
        prop_assert!(matches!(store.list_at("/", revision + 1), Err(StoreError::Future(r)) if r == revision));
    }
}

#[test]
fn a_commit_is_all_or_nothing() {
    let store = Store::in_memory();
    let put = |k: &str| Op::Create {
        key: k.to_owned(),
        value: Arc::new(json!({})),
    };
    store.commit_blocking(vec![put("/a")]).unwrap();
    let error = store
        .commit_blocking(vec![put("/b"), put("/a")])
        .unwrap_err();
    assert!(matches!(error, StoreError::Exists));
    assert!(store.get("/b").is_none());
    assert_eq!(store.revision(), 1);
}

#[test]
fn watch_sees_every_change_of_its_prefix_once_and_in_order() {
    runtime().block_on(async {
        let store = Store::in_memory();
        store.create("/x/0", json!(0)).await.unwrap();
        let from = store.revision();
        let watcher = store.watch("/x/", from).unwrap();
        let writer = {
            let store = store.clone();
            tokio::spawn(async move {
                for n in 1..=300u64 {
                    store.create(&format!("/x/{n}"), json!(n)).await.unwrap();
                    store.create(&format!("/y/{n}"), json!(n)).await.unwrap();
                }
                store.delete("/x/1", None).await.unwrap();
            })
        };
        let seen: Vec<_> = watcher.into_stream().take(301).collect().await;
        writer.await.unwrap();
        let seen: Vec<_> = seen.into_iter().map(Result::unwrap).collect();
        for (index, change) in seen[..300].iter().enumerate() {
            assert_eq!(change.key, format!("/x/{}", index + 1));
        }
        assert!(seen[300].after.is_none());
        assert_eq!(seen[300].before.as_deref(), Some(&json!(1)));
        assert!(seen.windows(2).all(|w| w[0].revision < w[1].revision));
    });
}

#[test]
fn a_watcher_that_falls_behind_the_history_is_told() {
    runtime().block_on(async {
        let store = Store::in_memory();
        let mut slow = store.watch("/", 0).unwrap();
        let big = "x".repeat(1 << 20);
        for n in 0..8 {
            store.create(&format!("/{n}"), json!(big)).await.unwrap();
        }
        assert!(matches!(
            slow.next().await,
            Some(Err(StoreError::Compacted))
        ));
        assert!(matches!(store.watch("/", 1), Err(StoreError::Compacted)));
        assert!(store.watch("/", 8).is_ok());
    });
}

#[test]
fn guaranteed_updates_of_many_tasks_all_count() {
    runtime().block_on(async {
        let store = Store::in_memory();
        store.create("/n", json!(0)).await.unwrap();
        let tasks: Vec<_> = (0..50)
            .map(|_| {
                let store = store.clone();
                tokio::spawn(async move {
                    store
                        .guaranteed_update("/n", |now| Some(json!(now.value.as_u64().unwrap() + 1)))
                        .await
                        .unwrap();
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
        assert_eq!(*store.get("/n").unwrap().value, json!(50));
    });
}

#[test]
fn a_damaged_file_is_recognised() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    std::fs::write(
        &path,
        b"this is no store, whatever it was before".repeat(500),
    )
    .unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))));

    std::fs::remove_file(&path).unwrap();
    let store = Store::open(&path).unwrap();
    let marker = "marker".repeat(20);
    store
        .commit_blocking(vec![Op::Create {
            key: "/a".to_owned(),
            value: Arc::new(json!(marker)),
        }])
        .unwrap();
    drop(store);
    let mut bytes = std::fs::read(&path).unwrap();
    let mut at = 0;
    let mut hits = 0;
    while let Some(found) = bytes[at..]
        .windows(marker.len())
        .position(|w| w == marker.as_bytes())
    {
        at += found;
        bytes[at] ^= 1;
        hits += 1;
    }
    assert!(hits > 0);
    std::fs::write(&path, &bytes).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))));

    std::fs::write(&path, &bytes[..bytes.len() / 2]).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::Damaged(_))));
}

#[test]
fn a_store_in_use_is_refused_and_free_after_drop() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let store = Store::open(&path).unwrap();
    assert!(matches!(Store::open(&path), Err(StoreError::InUse)));
    drop(store);
    assert!(Store::open(&path).is_ok());
}

#[test]
fn a_store_in_place_of_another_goes_on_above_its_revisions() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("store");
    let put = |store: &Store| {
        let op = Op::Put {
            key: "/a".to_owned(),
            value: Arc::new(json!(1)),
        };
        store.commit_blocking(vec![op]).unwrap()[0].revision
    };
    let mut latest = 0;
    for round in 0..5 {
        let store = Store::open_or_set_aside(&path).unwrap();
        for _ in 0..=1500 * round {
            let revision = put(&store);
            assert!(revision > latest, "{revision} after {latest}");
            latest = revision;
        }
        assert!(matches!(store.watch("/", 0), Err(StoreError::Compacted)) || round == 0);
        drop(store);
        if round % 2 == 0 {
            std::fs::write(&path, "damaged").unwrap();
        } else {
            std::fs::remove_file(&path).unwrap();
        }
    }
    // A mark that says nothing (an older version made none) is made anew.
    let store = Store::open_or_set_aside(&path).unwrap();
    latest = put(&store);
    drop(store);
    std::fs::write(dir.path().join("store.revision"), "?").unwrap();
    let store = Store::open(&path).unwrap();
    assert_eq!(put(&store), latest + 1);
    drop(store);
    std::fs::remove_file(&path).unwrap();
    assert!(put(&Store::open(&path).unwrap()) > latest + 1);
}
