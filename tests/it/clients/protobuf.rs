//! A client that prefers protobuf, as controllers written in Go do.

use ckslab::node::embedded::apiserver::schema::{self, FieldValidation, protobuf};
use futures_util::AsyncReadExt;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::Client;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};

use super::rust::with_sandbox;

const PROTOBUF: &str = "application/vnd.kubernetes.protobuf";

/// Status, content type and body of an answer.
async fn get(client: &Client, path: &str, accept: &str) -> (u16, String, Vec<u8>) {
    let request = http::Request::get(path)
        .header("accept", accept)
        .body(kube::client::Body::empty())
        .unwrap();
    let response = client.send(request).await.unwrap();
    let code = response.status().as_u16();
    let content_type = response.headers()["content-type"]
        .to_str()
        .unwrap()
        .to_owned();
    let body = response.into_body().collect_bytes().await.unwrap();
    (code, content_type, body.to_vec())
}

/// A message with its envelope.
fn decoded(group: &str, kind: &str, body: &[u8]) -> Value {
    schema::decode(group, "v1", kind, PROTOBUF, body, FieldValidation::Strict)
        .unwrap_or_else(|error| panic!("{}", error.message()))
        .value
}

/// The versions of a list's items.
fn versions(list: &Value) -> Vec<Value> {
    let items = list["items"].as_array().into_iter().flatten();
    items
        .map(|item| item["metadata"]["resourceVersion"].clone())
        .collect()
}

#[test]
fn answers_are_in_the_form_that_is_accepted_first() {
    with_sandbox(async |_, client| {
        let path = "/api/v1/namespaces/kube-system/pods";
        // A pod whose state changes in between makes the two lists tell of different moments: then again.
        let mut same = Value::Null;
        for moment in 0.. {
            let (code, content_type, body) =
                get(&client, path, &format!("{PROTOBUF},application/json")).await;
            assert_eq!((code, content_type.as_str()), (200, PROTOBUF));
            let (_, content_type, json) =
                get(&client, path, &format!("application/json,{PROTOBUF}")).await;
            assert_eq!(content_type, "application/json");
            let mut json: Value = serde_json::from_slice(&json).unwrap();
            same = decoded("", "PodList", &body);
            // Heartbeats come in between.
            for list in [&mut same, &mut json] {
                list["metadata"]["resourceVersion"] = Value::Null;
            }
            if versions(&same) == versions(&json) || moment == 20 {
                assert_eq!(same, json);
                break;
            }
        }
        let (code, content_type, body) = get(&client, &format!("{path}/nope"), PROTOBUF).await;
        assert_eq!((code, content_type.as_str()), (404, PROTOBUF));
        assert_eq!(
            decoded("", "Status", &body)["message"],
            "pods \"nope\" not found"
        );
        // Metadata alone has a message, a table has none.
        let metadata = format!("{PROTOBUF};as=PartialObjectMetadataList;g=meta.k8s.io;v=v1");
        let (_, content_type, body) = get(&client, path, &metadata).await;
        assert_eq!(content_type, PROTOBUF);
        let list = decoded("meta.k8s.io", "PartialObjectMetadataList", &body);
        assert_eq!(
            list["items"].as_array().unwrap().len(),
            same["items"].as_array().unwrap().len()
        );
        let table = format!("{PROTOBUF};as=Table;g=meta.k8s.io;v=v1");
        let (_, content_type, _) = get(&client, path, &table).await;
        assert_eq!(content_type, "application/json");
    });
}

#[test]
fn watches_are_frames_with_their_length() {
    with_sandbox(async |_, client| {
        let maps: Api<ConfigMap> = Api::default_namespaced(client.clone());
        let path = "/api/v1/namespaces/default/configmaps?watch=true&timeoutSeconds=20&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        let request = http::Request::get(path)
            .header("accept", PROTOBUF)
            .body(kube::client::Body::empty())
            .unwrap();
        let response = client.send(request).await.unwrap();
        assert_eq!(
            response.headers()["content-type"],
            "application/vnd.kubernetes.protobuf;stream=watch"
        );
        let body = http_body_util::BodyDataStream::new(response.into_body());
        let mut body = futures_util::TryStreamExt::into_async_read(
            futures_util::TryStreamExt::map_err(body, std::io::Error::other),
        );
        let mut next = async || {
            let mut length = [0; 4];
            body.read_exact(&mut length).await.unwrap();
            let mut frame = vec![0; u32::from_be_bytes(length) as usize];
            body.read_exact(&mut frame).await.unwrap();
            // Type, then the object with its envelope in a raw extension.
            let kind_length = usize::from(frame[1]);
            let kind = String::from_utf8(frame[2..2 + kind_length].to_vec()).unwrap();
            let at = frame
                .windows(protobuf::PREFIX.len())
                .position(|bytes| bytes == protobuf::PREFIX)
                .unwrap();
            (kind, decoded("", "ConfigMap", &frame[at..]))
        };
        let (kind, root) = next().await;
        assert_eq!(
            (kind.as_str(), &root["metadata"]["name"]),
            ("ADDED", &json!("kube-root-ca.crt"))
        );
        let (kind, mark) = next().await;
        assert_eq!(kind, "BOOKMARK");
        assert_eq!(
            mark["metadata"]["annotations"],
            json!({"k8s.io/initial-events-end": "true"})
        );
        let map: ConfigMap =
            serde_json::from_value(json!({"metadata": {"name": "new"}, "data": {"a": "b"}}))
                .unwrap();
        maps.create(&PostParams::default(), &map).await.unwrap();
        let (kind, made) = next().await;
        assert_eq!(
            (kind.as_str(), &made["data"]),
            ("ADDED", &json!({"a": "b"}))
        );
        maps.delete("new", &DeleteParams::default()).await.unwrap();
        assert_eq!(next().await.0, "DELETED");
    });
}
