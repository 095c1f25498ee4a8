//! The Rust client `kube` against a sandbox lab: what its watcher does (a list and a watch, a streamed list, a list anew
//! after `410 Gone`), server-side apply, finalizers, subresources, custom resources.

use futures_util::{AsyncBufReadExt, StreamExt, TryStreamExt};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::{ConfigMap, Pod};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{
    Api, ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams,
    PostParams, WatchEvent, WatchParams,
};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::core::Status;
use kube::runtime::watcher;
use kube::{Client, ResourceExt};
use serde_json::{Value, json};

use crate::builder::Test;

/// A client of a started sandbox.
pub(super) async fn client(test: &Test) -> Client {
    let admin = test.node("sandbox", "/etc/kubernetes/admin.conf");
    let config = Kubeconfig::read_from(admin).unwrap();
    let config = kube::Config::from_custom_kubeconfig(config, &KubeConfigOptions::default()).await;
    Client::try_from(config.unwrap()).unwrap()
}

/// Runs a test with a sandbox of its own.
pub(super) fn with_sandbox(run: impl AsyncFnOnce(&Test, Client)) {
    let test = Test::new();
    test.start("sandbox");
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap()
        .block_on(async {
            let client = client(&test).await;
            let all = tokio::time::timeout(std::time::Duration::from_secs(60), run(&test, client));
            all.await.expect("it is over within a minute");
        });
}

fn object<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn map(name: &str, value: &str) -> ConfigMap {
    object(json!({"metadata": {"name": name}, "data": {"a": value}}))
}

/// What a request was refused with.
fn refusal<T: std::fmt::Debug>(answer: Result<T, kube::Error>) -> Box<Status> {
    match answer {
        Err(kube::Error::Api(status)) => status,
        other => panic!("not refused: {other:?}"),
    }
}

/// An event in a word: `ADDED name`.
fn word(event: WatchEvent<ConfigMap>) -> String {
    match event {
        WatchEvent::Added(map) => format!("ADDED {}", map.name_any()),
        WatchEvent::Modified(map) => format!("MODIFIED {}", map.name_any()),
        WatchEvent::Deleted(map) => format!("DELETED {}", map.name_any()),
        WatchEvent::Bookmark(mark) => match mark.metadata.annotations.len() {
            0 => "BOOKMARK".to_owned(),
            _ => format!("BOOKMARK {:?}", mark.metadata.annotations),
        },
        WatchEvent::Error(status) => format!("ERROR {} {}", status.code, status.reason),
    }
}

#[test]
fn a_watcher_lists_and_goes_on_from_there() {
    with_sandbox(async |_, client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let listed = maps.list(&ListParams::default()).await.unwrap();
        let version = listed.metadata.resource_version.unwrap();
        let none = WatchParams::default().timeout(20);
        maps.create(&PostParams::default(), &map("one", "1"))
            .await
            .unwrap();
        let events = maps.watch(&none, &version).await.unwrap();
        let changed = Patch::Merge(json!({"data": {"a": "2"}}));
        maps.patch("one", &PatchParams::default(), &changed)
            .await
            .unwrap();
        maps.delete("one", &DeleteParams::default()).await.unwrap();
        let words: Vec<String> = events.map_ok(word).take(3).try_collect().await.unwrap();
        assert_eq!(words, ["ADDED one", "MODIFIED one", "DELETED one"]);
    });
}

#[test]
fn the_watcher_of_the_runtime_follows_a_list_that_changes() {
    with_sandbox(async |_, client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let params = PostParams::default();
        maps.create(&params, &map("one", "1")).await.unwrap();
        for config in [
            watcher::Config::default(),
            watcher::Config::default().streaming_lists(),
        ] {
            let mut events = Box::pin(watcher::watcher(maps.clone(), config.labels("!none")));
            let mut words = Vec::new();
            loop {
                words.push(match events.try_next().await.unwrap().unwrap() {
                    watcher::Event::Init => "INIT".to_owned(),
                    watcher::Event::InitApply(map) => format!("THERE {}", map.name_any()),
                    watcher::Event::InitDone => {
                        maps.create(&params, &map("two", "2")).await.unwrap();
                        "DONE".to_owned()
                    }
                    watcher::Event::Apply(map) => {
                        let params = DeleteParams::default();
                        maps.delete(&map.name_any(), &params).await.unwrap();
                        format!("APPLIED {}", map.name_any())
                    }
                    watcher::Event::Delete(map) => {
                        words.push(format!("DELETED {}", map.name_any()));
                        break;
                    }
                });
            }
            assert_eq!(
                words,
                [
                    "INIT",
                    "THERE kube-root-ca.crt",
                    "THERE one",
                    "DONE",
                    "APPLIED two",
                    "DELETED two"
                ]
            );
        }
    });
}

#[test]
fn a_watcher_lists_anew_when_it_comes_too_late() {
    with_sandbox(async |_, client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let events = maps.watch(&WatchParams::default(), "1").await.unwrap();
        let words: Vec<String> = events.map_ok(word).try_collect().await.unwrap();
        assert_eq!(words, ["ERROR 410 Expired"]);
        assert!(
            !maps
                .list(&ListParams::default())
                .await
                .unwrap()
                .items
                .is_empty()
        );
    });
}

#[test]
fn a_streamed_list_says_where_it_ends() {
    with_sandbox(async |_, client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        maps.create(&PostParams::default(), &map("one", "1"))
            .await
            .unwrap();
        let streamed = WatchParams::streaming_lists().timeout(20);
        let mut events = maps
            .watch(&streamed, "0")
            .await
            .unwrap()
            .map_ok(word)
            .boxed();
        let mut listed = Vec::new();
        while let Some(event) = events.try_next().await.unwrap() {
            listed.push(event);
            if listed.last().unwrap().starts_with("BOOKMARK") {
                break;
            }
        }
        listed.sort();
        assert_eq!(
            listed,
            [
                "ADDED kube-root-ca.crt",
                "ADDED one",
                "BOOKMARK {\"k8s.io/initial-events-end\": \"true\"}",
            ]
        );
        maps.delete("one", &DeleteParams::default()).await.unwrap();
        let next = events.try_next().await.unwrap();
        assert_eq!(next.as_deref(), Some("DELETED one"));
    });
}

#[test]
fn fields_belong_to_who_applied_them() {
    with_sandbox(async |_, client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let desired = |data: Value| {
            Patch::Apply(json!({"apiVersion": "v1", "kind": "ConfigMap",
                "metadata": {"name": "shared"}, "data": data}))
        };
        let (one, two) = (PatchParams::apply("one"), PatchParams::apply("two"));
        maps.patch("shared", &one, &desired(json!({"a": "1", "b": "1"})))
            .await
            .unwrap();
        let both = desired(json!({"a": "2", "c": "2"}));
        let refused = refusal(maps.patch("shared", &two, &both).await);
        assert_eq!((refused.code, refused.reason.as_str()), (409, "Conflict"));
        assert_eq!(
            refused.message,
            "Apply failed with 1 conflict: conflict with \"one\": .data.a"
        );
        let forced = maps
            .patch("shared", &two.clone().force(), &both)
            .await
            .unwrap();
        assert_eq!(json!(forced.data), json!({"a": "2", "b": "1", "c": "2"}));
        let managers: Vec<String> = forced
            .managed_fields()
            .iter()
            .map(|entry| entry.manager.clone().unwrap())
            .collect();
        assert_eq!(managers, ["one", "two"]);
        // What nobody applies any more is gone; what somebody else does stays.
        let less = maps
            .patch("shared", &two, &desired(json!({"c": "2"})))
            .await;
        assert_eq!(json!(less.unwrap().data), json!({"b": "1", "c": "2"}));
        let dry = one.clone().dry_run();
        let tried = maps
            .patch("shared", &dry, &desired(json!({})))
            .await
            .unwrap();
        assert_eq!(json!(tried.data), json!({"c": "2"}));
        assert_eq!(
            json!(maps.get("shared").await.unwrap().data),
            json!({"b": "1", "c": "2"})
        );
    });
}

#[test]
fn a_finalizer_holds_an_object_back() {
    with_sandbox(async |_, client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client);
        let mut held = map("held", "1");
        held.metadata.finalizers = Some(vec!["example.com/hold".to_owned()]);
        maps.create(&PostParams::default(), &held).await.unwrap();
        let deleted = maps.delete("held", &DeleteParams::default()).await.unwrap();
        assert!(
            deleted
                .left()
                .unwrap()
                .metadata
                .deletion_timestamp
                .is_some()
        );
        let more = Patch::Merge(
            json!({"metadata": {"finalizers": ["example.com/hold", "example.com/more"]}}),
        );
        let refused = refusal(maps.patch("held", &PatchParams::default(), &more).await);
        assert!(
            refused.message.contains("metadata.finalizers: Forbidden: no new finalizers can be added if the object is being deleted"),
            "{}",
            refused.message
        );
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        maps.patch("held", &PatchParams::default(), &free)
            .await
            .unwrap();
        assert!(maps.get_opt("held").await.unwrap().is_none());
    });
}

#[test]
fn subresources_and_logs_are_reached() {
    with_sandbox(async |_, client| {
        let deployments: Api<Deployment> = Api::default_namespaced(client.clone());
        let labels = json!({"app": "web"});
        let web: Deployment = object(json!({"metadata": {"name": "web"}, "spec": {
            "selector": {"matchLabels": labels}, "template": {"metadata": {"labels": labels},
            "spec": {"containers": [{"name": "web", "image": "nginx"}]}}}}));
        deployments
            .create(&PostParams::default(), &web)
            .await
            .unwrap();
        let scale = Patch::Merge(json!({"spec": {"replicas": 2}}));
        let scaled = deployments
            .patch_scale("web", &PatchParams::default(), &scale)
            .await
            .unwrap();
        assert_eq!(scaled.spec.unwrap().replicas, Some(2));
        let pods: Api<Pod> = Api::default_namespaced(client);
        let chosen = WatchParams::default().labels("app=web").timeout(30);
        let mut events = pods.watch(&chosen, "0").await.unwrap().boxed();
        let running = loop {
            if let Some(WatchEvent::Added(pod) | WatchEvent::Modified(pod)) =
                events.try_next().await.unwrap()
                && pod
                    .status
                    .as_ref()
                    .and_then(|status| status.phase.as_deref())
                    == Some("Running")
            {
                break pod.name_any();
            }
        };
        let follow = LogParams {
            follow: true,
            ..LogParams::default()
        };
        let mut lines = pods.log_stream(&running, &follow).await.unwrap().lines();
        let first = lines.try_next().await.unwrap().unwrap();
        assert!(first.starts_with("/docker-entrypoint.sh: "), "{first}");
        pods.evict(&running, &kube::api::EvictParams::default())
            .await
            .unwrap();
        let seen = pods.get_metadata_opt(&running).await.unwrap();
        assert!(seen.is_none_or(|pod| pod.metadata.deletion_timestamp.is_some()));
    });
}

#[test]
fn a_definition_ends_after_its_objects() {
    with_sandbox(async |test, client| {
        let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
        let definition: CustomResourceDefinition = object(json!({
            "metadata": {"name": "boats.example.com"},
            "spec": {"group": "example.com", "scope": "Namespaced",
                "names": {"plural": "boats", "singular": "boat", "kind": "Boat"},
                "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {
                    "type": "object", "properties": {"spec": {"type": "object", "properties": {
                        "name": {"type": "string", "pattern": "^\\d+$"},
                        "masts": {"type": "integer", "default": 3, "maximum": 5}}}}}}}]}}));
        definitions
            .create(&PostParams::default(), &definition)
            .await
            .unwrap();
        let resource = ApiResource {
            group: "example.com".into(),
            version: "v1".into(),
            api_version: "example.com/v1".into(),
            kind: "Boat".into(),
            plural: "boats".into(),
        };
        let boats: Api<DynamicObject> = Api::default_namespaced_with(client, &resource);
        let boat = |name: &str, number: &str| -> DynamicObject {
            object(
                json!({"apiVersion": "example.com/v1", "kind": "Boat", "metadata": {"name": name,
                "finalizers": ["example.com/hold"]}, "spec": {"name": number, "deck": "wet"}}),
            )
        };
        let refused = refusal(
            boats
                .create(&PostParams::default(), &boat("bad", "one"))
                .await,
        );
        assert_eq!(
            refused.message,
            "Boat.example.com \"bad\" is invalid: spec.name: Invalid value: \"one\": spec.name in body should match '^\\d+$'"
        );
        let made = boats
            .create(&PostParams::default(), &boat("held", "1"))
            .await
            .unwrap();
        assert_eq!(made.data["spec"], json!({"name": "1", "masts": 3}));
        definitions
            .delete("boats.example.com", &DeleteParams::default())
            .await
            .unwrap();
        // Its controller notices a moment later; the time limit is that of the whole test.
        let said = loop {
            let ending = definitions.get("boats.example.com").await.unwrap();
            let conditions = ending.status.unwrap().conditions.unwrap_or_default();
            let last = conditions.into_iter().next_back().unwrap();
            if last.reason.as_deref() != Some("InstanceDeletionPending") {
                break (last.status, last.reason.unwrap_or_default());
            }
        };
        assert_eq!(
            said,
            ("True".to_owned(), "InstanceDeletionInProgress".to_owned())
        );
        let refused = refusal(
            boats
                .create(&PostParams::default(), &boat("late", "2"))
                .await,
        );
        assert_eq!(
            refused.message,
            "boats.example.com \"late\" is forbidden: create not allowed while custom resource definition is terminating"
        );
        // The server is started anew and goes on.
        test.kill_node("sandbox");
        test.run(["status"]).ok();
        let free = Patch::Merge(json!({"metadata": {"finalizers": null}}));
        boats
            .patch("held", &PatchParams::default(), &free)
            .await
            .unwrap();
        loop {
            if definitions
                .get_opt("boats.example.com")
                .await
                .unwrap()
                .is_none()
            {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(refusal(boats.get("held").await).code, 404);
    });
}
