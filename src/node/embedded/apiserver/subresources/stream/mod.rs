//! What exec, attach and port-forward talk over: WebSocket messages, SPDY streams, and SPDY within WebSocket
//! messages (`k8s.io/streaming`, kubelet `pkg/kubelet/server/{remotecommand,portforward}`).

pub(super) mod negotiate;
pub(super) mod spdy;
pub(super) mod terminal;
pub(super) mod websocket;
mod wire;

pub(super) use wire::Wire;
