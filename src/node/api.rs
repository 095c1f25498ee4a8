//! Requests to the API of a node, for what engines do themselves.

use serde_json::Value;

use super::embedded::objects;
use super::{NodeError, ObjectChange};

fn refused(error: &dyn std::fmt::Display) -> NodeError {
    NodeError::Refused(error.to_string())
}

/// Runs requests to the end. On a thread and a runtime of their own: the caller may be inside of one.
///
/// # Errors
/// Those of the requests, or when no client can be made.
pub(super) fn run<T, F, R>(config: kube::Config, requests: F) -> Result<T, NodeError>
where
    T: Send,
    F: FnOnce(kube::Client) -> R + Send,
    R: Future<Output = Result<T, NodeError>>,
{
    std::thread::scope(|scope| {
        scope
            .spawn(|| {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .build()
                    .map_err(|error| refused(&error))?;
                runtime.block_on(async {
                    let client = kube::Client::try_from(config).map_err(|error| refused(&error))?;
                    requests(client).await
                })
            })
            .join()
            .unwrap_or_else(|_| Err(NodeError::Refused("the client stopped".to_owned())))
    })
}

const JSON: &str = "application/json";
const MERGE: &str = "application/merge-patch+json";

async fn send(
    client: &kube::Client,
    method: http::Method,
    path: &str,
    kind: &str,
    body: Vec<u8>,
) -> Result<String, kube::Error> {
    let request = http::Request::builder()
        .method(method)
        .uri(path)
        .header(http::header::CONTENT_TYPE, kind)
        .body(body)
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await
}

fn code(error: &kube::Error) -> u16 {
    match error {
        kube::Error::Api(status) => status.code,
        _ => 0,
    }
}

/// What is at a path; nothing where the server has nothing there.
///
/// # Errors
/// When the server does not answer, or refuses.
pub(super) async fn get(client: &kube::Client, path: &str) -> Result<Option<Value>, NodeError> {
    match send(client, http::Method::GET, path, JSON, Vec::new()).await {
        Ok(text) => serde_json::from_str(&text)
            .map(Some)
            .map_err(|error| refused(&error)),
        Err(error) if code(&error) == 404 => Ok(None),
        Err(error) => Err(refused(&error)),
    }
}

fn done(result: Result<String, kube::Error>, fine: &[u16]) -> Result<(), NodeError> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if fine.contains(&code(&error)) => Ok(()),
        Err(error) => Err(refused(&error)),
    }
}

/// Creates an object in a collection; one that is there is fine.
///
/// # Errors
/// As [`get`].
pub(super) async fn create(
    client: &kube::Client,
    collection: &str,
    object: &Value,
) -> Result<(), NodeError> {
    let body = object.to_string().into_bytes();
    done(
        send(client, http::Method::POST, collection, JSON, body).await,
        &[409],
    )
}

/// Replaces an object.
///
/// # Errors
/// As [`get`].
pub(super) async fn replace(
    client: &kube::Client,
    path: &str,
    object: &Value,
) -> Result<(), NodeError> {
    let body = object.to_string().into_bytes();
    done(
        send(client, http::Method::PUT, path, JSON, body).await,
        &[404],
    )
}

/// Merges fields into an object (a JSON merge patch).
///
/// # Errors
/// As [`get`].
pub(super) async fn merge(
    client: &kube::Client,
    path: &str,
    fields: &Value,
) -> Result<(), NodeError> {
    let body = fields.to_string().into_bytes();
    done(
        send(client, http::Method::PATCH, path, MERGE, body).await,
        &[404],
    )
}

/// Deletes an object; one that is gone is fine.
///
/// # Errors
/// As [`get`].
pub(super) async fn delete(client: &kube::Client, path: &str) -> Result<(), NodeError> {
    done(
        send(client, http::Method::DELETE, path, JSON, Vec::new()).await,
        &[404, 409],
    )
}

/// Changes objects of a running node.
///
/// # Errors
/// When an object is of no known kind, or the server refuses.
pub(super) fn change(config: kube::Config, changes: &[ObjectChange]) -> Result<(), NodeError> {
    run(config, |client| async move {
        for change in changes {
            change_one(&client, change).await?;
        }
        Ok(())
    })
}

/// Whether every object is of a known kind.
///
/// # Errors
/// Names the first that is not.
pub(super) fn know(changes: &[ObjectChange]) -> Result<(), NodeError> {
    let unknown = changes
        .iter()
        .map(ObjectChange::object)
        .find(|object| objects::collection_path(object).is_none());
    let Some(object) = unknown else {
        return Ok(());
    };
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or("");
    Err(NodeError::Refused(format!(
        "`{}` of `{}` is no kind of this API server",
        text("/kind"),
        text("/apiVersion"),
    )))
}

async fn change_one(client: &kube::Client, change: &ObjectChange) -> Result<(), NodeError> {
    let object = change.object();
    let collection = objects::collection_path(object)
        .ok_or_else(|| NodeError::Refused("an object of unknown kind".to_owned()))?;
    let name = object
        .pointer("/metadata/name")
        .and_then(Value::as_str)
        .unwrap_or_default();
    let path = format!("{collection}/{name}");
    let body = serde_json::to_vec(object).map_err(|error| refused(&error))?;
    use http::Method;
    let sent = match change {
        ObjectChange::Put(_) => {
            match send(client, Method::POST, &collection, JSON, body.clone()).await {
                Err(error) if code(&error) == 409 => {
                    send(client, Method::PUT, &path, JSON, body).await
                }
                answer => answer,
            }
        }
        ObjectChange::Patch(_) => send(client, Method::PATCH, &path, MERGE, body).await,
        ObjectChange::Delete(_) => send(client, Method::DELETE, &path, JSON, Vec::new()).await,
    };
    sent.map(|_| ()).map_err(|error| refused(&error))
}
