use super::*;

struct Node {
    dir: tempfile::TempDir,
}

impl Node {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("node/root")).unwrap();
        std::fs::create_dir_all(dir.path().join("node/etc")).unwrap();
        std::fs::write(dir.path().join("secret"), "outside").unwrap();
        Self { dir }
    }

    /// Exit code, output and errors of a command line (words split at blanks).
    fn run(&self, line: &str, stdin: &str) -> (u8, String, String) {
        let node = Confined::new(&self.dir.path().join("node"));
        let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
        let (mut out, mut err) = (Vec::new(), Vec::new());
        let mut streams = Streams {
            stdin: &mut stdin.as_bytes(),
            stdout: &mut out,
            stderr: &mut err,
        };
        let code = run(&node, &words[0], &words[1..], &mut streams).unwrap();
        (
            code,
            String::from_utf8(out).unwrap(),
            String::from_utf8(err).unwrap(),
        )
    }
}

#[test]
fn commands_do_what_their_names_say_within_the_node() {
    let node = Node::new();
    let lines = [
        ("tee a.txt", "one\ntwo\nthree\n", 0, "one\ntwo\nthree\n", ""),
        ("cat /root/a.txt", "", 0, "one\ntwo\nthree\n", ""),
        ("head -n 1 a.txt", "", 0, "one\n", ""),
        ("tail -2 a.txt", "", 0, "two\nthree\n", ""),
        ("wc -l a.txt", "", 0, "3 a.txt\n", ""),
        ("grep -n t a.txt", "", 0, "2:two\n3:three\n", ""),
        ("grep -c none a.txt", "", 1, "0\n", ""),
        ("mkdir -p /opt/x/y", "", 0, "", ""),
        ("cp a.txt /opt/x", "", 0, "", ""),
        ("mv /opt/x/a.txt /opt/x/b.txt", "", 0, "", ""),
        ("cp -r /opt/x /opt/z", "", 0, "", ""),
        ("ls /opt/z", "", 0, "b.txt\ny\n", ""),
        ("chmod 600 /opt/z/b.txt", "", 0, "", ""),
        ("ln -s /opt/z/b.txt link", "", 0, "", ""),
        ("readlink -f link", "", 0, "/opt/z/b.txt\n", ""),
        ("test -f link", "", 0, "", ""),
        ("[ -d /opt/none ]", "", 1, "", ""),
        ("rm -r /opt/z", "", 0, "", ""),
        (
            "cat link",
            "",
            1,
            "",
            "cat: link: No such file or directory\n",
        ),
        ("rm /opt/x", "", 1, "", "rm: /opt/x: Is a directory\n"),
        ("rm -f none", "", 0, "", ""),
        (
            "ls none",
            "",
            2,
            "",
            "ls: none: No such file or directory\n",
        ),
        ("echo -n a b", "", 0, "a b", ""),
    ];
    for (line, stdin, code, out, err) in lines {
        assert_eq!(
            node.run(line, stdin),
            (code, out.to_owned(), err.to_owned()),
            "{line}"
        );
    }
}

#[test]
fn no_path_leads_out() {
    let node = Node::new();
    let secret = node.dir.path().join("secret");
    for line in [
        "cat ../../secret".to_owned(),
        format!("cat {}", secret.display()),
        "cat /../../../../etc/passwd".to_owned(),
    ] {
        let (code, out, _) = node.run(&line, "");
        assert_eq!((code, out.as_str()), (1, ""), "{line}");
    }
    node.run("ln -s ../../../../../../../secret out", "");
    node.run("tee out", "changed");
    node.run("rm -r ../../..", "");
    assert_eq!(std::fs::read_to_string(secret).unwrap(), "outside");
}
