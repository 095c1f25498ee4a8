//! `ckslab edit`: a file of the node in an editor of the machine.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use crate::builder::Test;

#[test]
fn a_file_of_the_node_is_edited_and_keeps_its_mode() {
    let test = Test::new().env("VISUAL", "sed -i s/one/two/");
    test.start("sandbox");
    let path = "/etc/kubernetes/it's a file";
    let file = test.node("sandbox", path);
    fs::write(&file, "one\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).unwrap();
    test.run(["edit", path]).ok().stdout("").stderr("");
    assert_eq!(fs::read_to_string(&file).unwrap(), "two\n");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    test.run(["edit", path])
        .ok()
        .stderr("nothing was changed\n");
    // A new file.
    let mut command = test.command(["edit", "/root/new"]);
    command.env("VISUAL", "printf new >");
    test.outcome(command, b"").ok();
    assert_eq!(
        fs::read_to_string(test.node("sandbox", "/root/new")).unwrap(),
        "new"
    );
}

#[test]
fn an_editor_that_fails_writes_nothing() {
    let test = Test::new().env("VISUAL", "false");
    test.start("sandbox");
    let file = test.node("sandbox", "/etc/hostname");
    let before = fs::read_to_string(&file).unwrap();
    test.run(["edit", "/etc/hostname"]).code(4).stderr(
        "error: the editor `false` ended with exit status: 1\n\n\
         hint: nothing was written; set EDITOR to choose another one\n",
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), before);
    test.run(["edit", "/etc"])
        .code(4)
        .stderr("error: `node:/etc` is no regular file\n");
    test.run(["edit", "policy.yaml"]).code(2).stderr(
        "error: `policy.yaml` is no path of a file on the node\n\n\
         hint: ckslab edit /etc/kubernetes/manifests/kube-apiserver.yaml\n",
    );
}
