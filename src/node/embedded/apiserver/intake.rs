//! What a request waits for before it is handled: etcd, its body, its turn.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt, LengthLimitError, Limited};
use tokio::runtime::RuntimeFlavor;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::deadline::{self, Deadline};
use super::pipeline::RequestBody;
use super::state::ApiState;
use super::status::Status;

/// Largest body of a request (`MaxRequestBodyBytes`).
const BODY_LIMIT: usize = 3 * 1024 * 1024;
/// Longest a client may take to send its body.
const BODY_TIME: Duration = Duration::from_secs(60);

/// Without etcd a request waits until its time is over. Whether etcd is there.
pub(super) async fn etcd(state: &ApiState, deadline: Option<Deadline>) -> bool {
    let mut up = state.machine.etcd_up.subscribe();
    if *up.borrow() {
        return true;
    }
    let up = up.wait_for(|up| *up);
    match deadline {
        Some(deadline) => matches!(tokio::time::timeout_at(deadline.etcd, up).await, Ok(Ok(_))),
        None => up.await.is_ok(),
    }
}

/// A body and the room it takes; `None` when there is no room for it.
pub(super) async fn read_body(
    state: &ApiState,
    body: RequestBody,
    deadline: Option<Deadline>,
) -> Result<Option<(Bytes, Option<OwnedSemaphorePermit>)>, Status> {
    let reading = async {
        let mut body = Limited::new(body, BODY_LIMIT);
        let (mut bytes, mut room) = (BytesMut::new(), None::<OwnedSemaphorePermit>);
        while let Some(frame) = body.frame().await {
            let Ok(data) = frame?.into_data() else {
                continue;
            };
            let Some(more) = state.limits.body(data.len()) else {
                return Ok(None);
            };
            match &mut room {
                Some(room) => room.merge(more),
                None => room = Some(more),
            }
            bytes.extend_from_slice(&data);
        }
        Ok::<_, Box<dyn std::error::Error + Send + Sync>>(Some((bytes.freeze(), room)))
    };
    let end = Instant::now() + BODY_TIME;
    let end = deadline.map_or(end, |deadline| deadline.at.min(end));
    match tokio::time::timeout_at(end, reading).await {
        Ok(Ok(whole)) => Ok(whole),
        Ok(Err(error)) if error.is::<LengthLimitError>() => Err(Status::new(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: limit is {BODY_LIMIT}"),
        )),
        Ok(Err(error)) => Err(Status::new(400, "BadRequest", error.to_string())),
        Err(_) => Err(deadline::exceeded("create")),
    }
}

/// Runs what a large body leads to. Its values take many times its size, and its handling does not
/// pause: such requests take turns, and not on a thread that others need.
pub(super) async fn aside<F: Future>(state: &ApiState, work: F) -> F::Output {
    let _turn = state.limits.turn().await;
    let runtime = tokio::runtime::Handle::current();
    match runtime.runtime_flavor() {
        RuntimeFlavor::MultiThread => tokio::task::block_in_place(|| runtime.block_on(work)),
        _ => work.await,
    }
}
