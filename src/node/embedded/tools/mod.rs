//! Node tools: what a learner runs on the node (crictl, journalctl, systemctl...).
