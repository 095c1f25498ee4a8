//! Large files, full disks, and configurations of one's own.

use std::fs;

use sha2::{Digest, Sha256};

use super::docker::Lab;

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_large_file_goes_there_in_pieces_and_a_full_disk_is_said() {
    let lab = Lab::new("files");
    lab.start("sandbox", &[]).ok();
    // Three pieces, the last of them short.
    let large: Vec<u8> = (0..9_000_000_u32).map(|i| (i % 251) as u8).collect();
    fs::write(lab.test.work().join("large"), &large).unwrap();
    let sum: String = Sha256::digest(&large)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    lab.sh("mkdir /root/d; echo old >/root/d/real; chmod 640 /root/d/real; chown 7 /root/d/real; ln -s real /root/d/link");
    lab.test.run(["cp", "large", "node:/root/d/link"]).ok();
    assert_eq!(
        lab.sh("sha256sum </root/d/real; stat -c %u /root/d/real; stat -c %F /root/d/link; ls -A /root/d"),
        format!("{sum}  -\n7\nsymbolic link\nlink\nreal\n")
    );
    // The disk where it goes, and the one where requests are kept, which is another.
    lab.sh("mkdir /mnt/small; mount -t tmpfs -o size=5m tmpfs /mnt/small; echo old >/mnt/small/f");
    let full = |to: &str| {
        let said = lab.test.run(["cp", "large", to]).code(4).stderr;
        assert!(
            said.to_lowercase().contains("no space left on device")
                && said.contains("hint: free some space, then run the command again"),
            "{said}"
        );
    };
    full("node:/mnt/small/f");
    full("node:/mnt/small/new");
    assert_eq!(lab.sh("cat /mnt/small/f; ls -A /mnt/small"), "old\nf\n");
    lab.sh("umount /mnt/small; mount -t tmpfs -o size=1m tmpfs /tmp");
    full("node:/root/d/real");
    assert_eq!(
        lab.sh("sha256sum </root/d/real; ls -A /root/d"),
        format!("{sum}  -\nlink\nreal\n")
    );
    lab.sh("umount /tmp");
    lab.test.run(["cp", "large", "node:/root/d/real"]).ok();
}

#[test]
#[ignore = "needs a Docker Engine: .ci/kind-standin/with-docker"]
fn docker_a_machine_with_control_groups_v1_needs_a_configuration() {
    let lab = Lab::new("groups");
    let start = |more: &[&str]| {
        let mut words = vec![
            "start",
            "sandbox",
            "--engine",
            "kind",
            "--cluster",
            "groups",
        ];
        words.extend(more);
        let mut command = lab.test.command(words);
        command.env("CKSLAB_STANDIN_CGROUPS", "1");
        lab.test.outcome(command, b"")
    };
    let refused = start(&[]).code(4).stderr;
    assert!(
        refused.ends_with(
            "hint: this machine has control groups v1: give kind a configuration with `failCgroupV1: false` (--kind-config); docs/kind.md shows one\n"
        ),
        "{refused}"
    );
    // The one that docs/kind.md shows.
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/kind.md")).unwrap();
    let shown = page
        .split("```yaml\n")
        .nth(1)
        .unwrap()
        .split("```")
        .next()
        .unwrap();
    fs::write(lab.test.work().join("kind.yaml"), shown).unwrap();
    start(&["--kind-config", "kind.yaml"]).ok();
    let made = fs::read_to_string(lab.test.home().join("kind/ckslab-groups/config.yaml")).unwrap();
    let made: serde_json::Value = serde_json::from_str(&made).unwrap();
    assert_eq!(made["nodes"][0]["role"], "control-plane");
    assert_eq!(
        made["kubeadmConfigPatches"][0],
        "kind: KubeletConfiguration\nfailCgroupV1: false\n"
    );
}
