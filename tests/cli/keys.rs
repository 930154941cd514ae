//! `safe-chat keys`: a person's key pair as it is shown, compared and carried elsewhere.

use crate::{refusal, safe_chat, text};
use std::{
    fs,
    io::Write,
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Output, Stdio},
};

const PASSPHRASE: &str = "correct horse battery";

/// The program with a home of its own, and a line on stdin.
fn keys(home: &Path, args: &[&str], stdin: &str) -> Output {
    let mut command = safe_chat(&["keys"]);
    command.args(args).env("HOME", home).stdin(Stdio::piped());
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // One that was typed wrong reads nothing.
    let _ = child.stdin.take().unwrap().write_all(stdin.as_bytes());
    child.wait_with_output().unwrap()
}

fn line(output: &Output) -> String {
    let stderr = text(&output.stderr);
    assert_eq!((output.status.code(), stderr), (Some(0), ""));
    text(&output.stdout).trim_end().to_owned()
}

/// The key pair of docs/protocol.md, where `safe-chat chat` keeps it.
fn harry(home: &Path) -> &'static str {
    let folder = home.join(".config/safe-chat");
    fs::create_dir_all(&folder).unwrap();
    let file = folder.join("key");
    let seed = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";
    fs::write(&file, format!("ed25519:{seed}\n")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    "A6EHv_POEL4dcN0Y50vAmWfk1jCbpQ1fHdyGZBJVMbg"
}

#[test]
fn the_key_that_is_shown_is_the_one_that_a_session_proves() {
    let home = tempfile::tempdir().unwrap();
    let public = harry(home.path());
    assert_eq!(line(&keys(home.path(), &["show"], "")), public);
    assert!(include_str!("../../docs/protocol.md").contains(public));
}

#[test]
fn both_of_a_pair_see_the_same_safety_number() {
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let harry = harry(homes[0].path());
    let file = homes[1].path().join("key");
    let flag = ["--key-file", file.to_str().unwrap()];
    fs::write(&file, format!("ed25519:{}\n", "B".repeat(42) + "A")).unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let charly = line(&keys(homes[1].path(), &["show", flag[0], flag[1]], ""));
    let seen = line(&keys(homes[0].path(), &["verify", &charly], ""));
    let charlys = line(&keys(
        homes[1].path(),
        &["verify", harry, flag[0], flag[1]],
        "",
    ));
    assert_eq!(seen, charlys);
    assert_eq!(seen.split(' ').count(), 12);
    // Of two other people.
    assert_eq!(
        line(&keys(homes[1].path(), &["verify", harry, &charly], "")),
        seen
    );
    let same = refusal(&keys(homes[0].path(), &["verify", harry], ""));
    assert!(same.contains("the same key"), "{same}");
}

#[test]
fn a_changed_key_is_another_one_and_the_former_one_stays_beside_it() {
    let home = tempfile::tempdir().unwrap();
    let former = harry(home.path());
    let said = line(&keys(home.path(), &["change"], ""));
    let public = line(&keys(home.path(), &["show"], ""));
    assert!(said.starts_with(&public) && public != former, "{said}");
    let kept = home.path().join(".config/safe-chat/key.former-1");
    let kept = kept.to_str().unwrap();
    assert!(said.contains(kept), "{said}");
    let shown = line(&keys(home.path(), &["show", "--key-file", kept], ""));
    assert_eq!(shown, former);
}

#[test]
fn of_many_changes_at_once_each_is_made_or_refused() {
    let home = tempfile::tempdir().unwrap();
    harry(home.path());
    let changing = || {
        let mut command = safe_chat(&["keys", "change"]);
        command.env("HOME", home.path()).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    };
    let all: Vec<_> = (0..5).map(|_| changing()).collect();
    let all = all.into_iter().map(|one| one.wait_with_output().unwrap());
    let (made, refused): (Vec<_>, Vec<_>) = all.partition(|one| one.status.success());
    for one in &refused {
        let why = text(&one.stderr);
        assert!(
            why.contains("another program") && why.contains("nothing was done"),
            "{why}"
        );
    }
    let files = fs::read_dir(home.path().join(".config/safe-chat")).unwrap();
    assert!(!made.is_empty());
    assert_eq!(
        files.count(),
        1 + made.len(),
        "the key, and those of before"
    );
    // Each former one is that which somebody was told, and none is lost.
    let mut told: Vec<_> = made.iter().map(line).collect();
    told.sort();
    let public = line(&keys(home.path(), &["show"], ""));
    assert!(
        told.iter().any(|said| said.starts_with(&public)),
        "{public} {told:?}"
    );
}

#[test]
fn what_a_passphrase_opens_is_said_of_former_keys_too() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    harry(home);
    line(&keys(home, &["change"], ""));
    let said = line(&keys(home, &["protect"], PASSPHRASE));
    assert!(said.contains("key.former-1"), "{said}");
    let with = ["--passphrase-file", &passphrase_file(home, PASSPHRASE)];
    let said = line(&keys(home, &["unprotect", with[0], with[1]], ""));
    assert!(said.contains("key.former-1"), "{said}");
}

#[test]
fn a_passphrase_file_that_holds_none_is_named_with_what_it_is() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    harry(home);
    line(&keys(home, &["protect"], PASSPHRASE));
    let empty = passphrase_file(home, "");
    let why = refusal(&keys(home, &["show", "--passphrase-file", &empty], ""));
    assert!(why.contains(&empty) && why.contains("is empty"), "{why}");
    let folder = home.to_str().unwrap();
    let why = refusal(&keys(home, &["show", "--passphrase-file", folder], ""));
    assert!(why.contains(folder) && why.contains("is a folder"), "{why}");
}

#[test]
fn a_link_that_has_a_key_is_not_taken_from_the_command_line() {
    let home = tempfile::tempdir().unwrap();
    let link = "https://chat.example/#key=safe-chat-identity-v1.AAAA";
    let why = refusal(&keys(home.path(), &["import", link], PASSPHRASE));
    assert!(why.contains("others see") && !why.contains("AAAA"), "{why}");
}

#[test]
fn an_exported_key_pair_is_carried_to_another_home() {
    let homes = [(); 2].map(|()| tempfile::tempdir().unwrap());
    let public = harry(homes[0].path());
    let exported = line(&keys(homes[0].path(), &["export"], PASSPHRASE));
    assert!(exported.starts_with("safe-chat-identity-v1."), "{exported}");
    let again = line(&keys(homes[0].path(), &["export"], PASSPHRASE));
    assert_ne!(again, exported, "the salt is drawn anew");
    let file = homes[1].path().join("exported");
    fs::write(&file, &exported).unwrap();
    let import = |stdin: &str| keys(homes[1].path(), &["import", file.to_str().unwrap()], stdin);
    let wrong = refusal(&import("correct horse batterx\n"));
    assert!(
        wrong.contains("passphrase") && !wrong.contains("horse"),
        "{wrong}"
    );
    assert_eq!(line(&import(PASSPHRASE)), public);
    assert_eq!(line(&keys(homes[1].path(), &["show"], "")), public);
    let kept = homes[1].path().join(".config/safe-chat/key");
    let mode = fs::metadata(&kept).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // A key pair is never replaced.
    let refused = refusal(&import(PASSPHRASE));
    assert!(refused.contains("is there already"), "{refused}");
}

#[test]
fn an_export_into_a_file_makes_it_only_when_all_went_well() {
    let home = tempfile::tempdir().unwrap();
    let public = harry(home.path());
    let file = home.path().join("exported");
    let args = ["export", "--out", file.to_str().unwrap()];
    let short = refusal(&keys(home.path(), &args, "geheim\n"));
    assert!(short.contains("12 characters"), "{short}");
    assert!(!file.exists());
    // What a shell has made already, the program cannot take back, but say.
    let redirected = refusal(&keys(home.path(), &["export"], "geheim\n"));
    assert!(redirected.contains("is empty, delete it"), "{redirected}");
    assert_eq!(line(&keys(home.path(), &args, PASSPHRASE)), "");
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let again = refusal(&keys(home.path(), &args, PASSPHRASE));
    assert!(again.contains("is there already"), "{again}");
    let other = home.path().join("other");
    let import = ["import", args[2], "--key-file", other.to_str().unwrap()];
    assert_eq!(line(&keys(home.path(), &import, PASSPHRASE)), public);
}

#[test]
fn what_cannot_be_done_says_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let none = refusal(&keys(home.path(), &["show"], ""));
    assert!(
        none.contains("safe-chat chat") && none.contains("import"),
        "{none}"
    );
    harry(home.path());
    let short = refusal(&keys(home.path(), &["export"], "geheim\n"));
    assert!(
        short.contains("12 characters") && !short.contains("geheim"),
        "{short}"
    );
    let file = home.path().join("file");
    fs::write(&file, "ed25519:AAAA").unwrap();
    let none = refusal(&keys(
        home.path(),
        &["import", file.to_str().unwrap()],
        PASSPHRASE,
    ));
    assert!(
        none.contains("no exported identity") && !none.contains("AAAA"),
        "{none}"
    );
    for bad in ["KEY-1", "", &"A".repeat(43)] {
        let output = keys(home.path(), &["verify", bad], "");
        assert_eq!(output.status.code(), Some(2), "{bad}");
    }
    fs::write(home.path().join(".config/safe-chat/key"), "KEY-1\n").unwrap();
    let claimed = refusal(&keys(home.path(), &["show"], ""));
    assert!(claimed.contains("no secret"), "{claimed}");
}

/// A file with a passphrase in it.
fn passphrase_file(home: &Path, passphrase: &str) -> String {
    let file = home.join("passphrase");
    fs::write(&file, format!("{passphrase}\n")).unwrap();
    file.to_str().unwrap().to_owned()
}

#[test]
fn a_key_that_is_protected_opens_with_its_passphrase_alone() {
    let home = tempfile::tempdir().unwrap();
    let (home, public) = (home.path(), harry(home.path()));
    let file = home.join(".config/safe-chat/key");
    let kept = || fs::read_to_string(&file).unwrap();
    let plain = kept();
    line(&keys(home, &["protect"], PASSPHRASE));
    assert!(kept().starts_with("safe-chat-identity-v1."), "{}", kept());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // Nobody is there to ask, and what is on stdin is for something else.
    for command in ["show", "devices", "export", "protect", "unprotect"] {
        let refused = refusal(&keys(home, &[command], PASSPHRASE));
        let says = ["is protected", "--passphrase-file"].map(|what| refused.contains(what));
        assert_eq!(says, [true; 2], "{command}: {refused}");
    }
    let wrong = passphrase_file(home, "correct horse batterx");
    let wrong = refusal(&keys(home, &["show", "--passphrase-file", &wrong], ""));
    let says = [
        "the passphrase does not open it",
        ".config/safe-chat/key",
        "horse",
    ];
    assert_eq!(
        says.map(|what| wrong.contains(what)),
        [true, true, false],
        "{wrong}"
    );
    let with = ["--passphrase-file", &passphrase_file(home, PASSPHRASE)];
    let with = |command: &'static str| [command, with[0], with[1]];
    assert_eq!(line(&keys(home, &with("show"), "")), public);
    assert_eq!(
        line(&keys(
            home,
            &["show", "--passphrase-file", "/dev/stdin"],
            PASSPHRASE
        )),
        public
    );
    // Another passphrase, which may not be weak.
    let before = kept();
    let short = refusal(&keys(home, &with("protect"), "geheim"));
    assert!(short.contains("12 characters"), "{short}");
    assert_eq!(kept(), before);
    line(&keys(home, &with("protect"), "another passphrase"));
    refusal(&keys(home, &with("show"), ""));
    passphrase_file(home, "another passphrase");
    line(&keys(home, &with("unprotect"), ""));
    assert_eq!(kept(), plain);
    let again = refusal(&keys(home, &["unprotect"], ""));
    assert!(again.contains("no passphrase protects"), "{again}");
    let unasked = refusal(&keys(home, &with("protect"), PASSPHRASE));
    assert!(unasked.contains("no passphrase opens"), "{unasked}");
}

#[test]
fn a_key_may_be_protected_from_its_first_day() {
    let home = tempfile::tempdir().unwrap();
    let home = home.path();
    let with = ["--passphrase-file", &passphrase_file(home, PASSPHRASE)];
    let public = line(&keys(home, &["new", "--protect"], PASSPHRASE));
    assert_eq!(line(&keys(home, &["show", with[0], with[1]], "")), public);
    let again = refusal(&keys(home, &["new"], ""));
    assert!(again.contains("is there already"), "{again}");
    // Carried elsewhere, it is as its owner says there.
    let exported = line(&keys(home, &["export", with[0], with[1]], PASSPHRASE));
    let file = home.join("exported");
    fs::write(&file, exported).unwrap();
    for protect in [false, true] {
        let other = home.join(format!("other-{protect}"));
        let mut import = vec!["import", file.to_str().unwrap()];
        import.extend(["--key-file", other.to_str().unwrap()]);
        import.extend(protect.then_some("--protect"));
        assert_eq!(line(&keys(home, &import, PASSPHRASE)), public);
        let kept = fs::read_to_string(&other).unwrap();
        assert_eq!(kept.starts_with("ed25519:"), !protect, "{kept}");
    }
}

#[test]
fn a_link_of_a_qr_code_is_imported_like_a_file() {
    let home = tempfile::tempdir().unwrap();
    let (home, public) = (home.path(), harry(home.path()));
    let page = "https://chat.example:8443/talk/";
    let shown = line(&keys(home, &["export", "--qr", page], PASSPHRASE));
    let (code, link) = shown.rsplit_once('\n').unwrap();
    let front = "https://chat.example:8443/talk/#key=safe-chat-identity-v1.";
    assert!(link.starts_with(front), "{link}");
    let widths: Vec<_> = code.lines().map(|line| line.chars().count()).collect();
    assert!(widths.iter().all(|width| *width == widths[0]), "{widths:?}");
    let file = home.join("link");
    fs::write(&file, link).unwrap();
    let other = home.join("other");
    let flag = ["--key-file", other.to_str().unwrap()];
    let import = ["import", file.to_str().unwrap(), flag[0], flag[1]];
    assert_eq!(line(&keys(home, &import, PASSPHRASE)), public);
    let nobody = refusal(&keys(home, &["import"], PASSPHRASE));
    assert!(nobody.contains("name the file"), "{nobody}");
}
