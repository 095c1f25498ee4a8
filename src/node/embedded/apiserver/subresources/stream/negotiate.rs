//! Which protocol client and server speak: the best of ours that the client offers.

/// Protocols of exec and attach, best first.
pub(in super::super) const CHANNELS: [&str; 4] = [
    "v5.channel.k8s.io",
    "v4.channel.k8s.io",
    "v3.channel.k8s.io",
    "channel.k8s.io",
];
/// SPDY within WebSocket messages, which is how port-forward works today.
pub(in super::super) const TUNNEL: &str = "SPDY/3.1+portforward.k8s.io";
/// Protocol of port-forward over SPDY.
pub(in super::super) const FORWARD: &str = "portforward.k8s.io";

/// The best of `known` among what the client offers, separated by commas.
pub(in super::super) fn best<'a>(known: &[&'a str], offered: &str) -> Option<&'a str> {
    known
        .iter()
        .copied()
        .find(|known| offered.split(',').any(|offer| offer.trim() == *known))
}
