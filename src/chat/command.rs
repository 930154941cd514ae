//! What a typed line means: a message, or a command that begins with a slash.

/// What `/help` says in every room.
const HELP: &str = "\
text               to the whole room
{to}/who               who is here
/history [N]       N earlier events (default 50)
/quit              end (Ctrl-D, too)
{group}//text             a message that begins with a slash
A pasted block is one message: look at it, then press Enter. Alt-Enter begins a new line.";

/// Not in a sealed room: the server would read the label.
const TO: &str = "\
/to NAME text      the same, labelled for NAME (a label: the whole room reads it)
";

/// In a sealed room only.
const GROUP: &str = "\
/add NAME KEY      let somebody in, with all devices (their key: `safe-chat keys show`)
/remove NAME       put somebody out, or take back an /add that waits
/leave             go out of the group with this device, not with others of yours, and end
/revoke DEVICE     a device of your own does not count in this room any more: the others remove it
/allow DEVICE      a device of your own counts here (again): then /add it
/share NAME [N]    show NAME, who came later, the last N messages (default 50, 100 at most)
/ask [N]           ask the others for the last N messages from before you came
/forget            what was said here so far is deleted on this machine (the last 1000 messages)
/dm NAME           go where you and NAME are alone: nobody else comes in there
/back              go back from there
/devices           who is in the group, with the safety numbers to compare
/code              digits that all see who are in the same group
/agree             yes: come back, although the group has changed or you had left it
";

/// What `/help` says.
pub(super) fn help(is_sealed: bool) -> String {
    let (to, group) = if is_sealed { ("", GROUP) } else { (TO, "") };
    HELP.replace("{to}", to).replace("{group}", group)
}

const HISTORY: u16 = 50;
const EARLIER: u8 = 50;
const SHARE: &str = "/share NAME [N]";

/// A line, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Command {
    Say { text: String, to: Option<String> },
    Who,
    History(u16),
    Add { user: String, key: String },
    Remove(String),
    Leave,
    Revoke(String),
    Allow(String),
    Direct(String),
    Share { user: String, count: u8 },
    Ask(u8),
    Forget,
    Back,
    Devices,
    Code,
    Agree,
    Quit,
    Help,
    Nothing,
    Unclear(String),
}

pub(super) fn parse(line: &str) -> Command {
    let Some(command) = line.strip_prefix('/') else {
        return if line.trim().is_empty() {
            Command::Nothing
        } else {
            Command::Say {
                text: line.into(),
                to: None,
            }
        };
    };
    if command.starts_with('/') {
        return Command::Say {
            text: command.into(),
            to: None,
        };
    }
    let (word, rest) = command
        .split_once(char::is_whitespace)
        .unwrap_or((command, ""));
    let rest = rest.trim_start();
    if command.contains('\n') && word != "to" {
        return Command::Unclear(
            "not a command, but a block of lines: put a / before it to send it".into(),
        );
    }
    match word {
        "who" => Command::Who,
        "help" | "h" | "?" => Command::Help,
        "history" => history(rest.trim_end()),
        "add" => add(rest.trim_end()),
        "remove" => named("/remove NAME", rest.trim_end(), Command::Remove),
        "quit" | "q" | "exit" | "leave" | "agree" | "forget" if !rest.trim().is_empty() => {
            Command::Unclear(format!("/{word} takes nothing behind it"))
        }
        "quit" | "q" | "exit" => Command::Quit,
        "leave" => Command::Leave,
        "forget" => Command::Forget,
        "revoke" => named("/revoke DEVICE", rest.trim_end(), Command::Revoke),
        "allow" => named("/allow DEVICE", rest.trim_end(), Command::Allow),
        "dm" => named("/dm NAME", rest.trim_end(), Command::Direct),
        "share" => share(rest.trim_end()),
        "ask" => counted("/ask [N]", rest.trim_end(), Command::Ask),
        "back" => Command::Back,
        "devices" => Command::Devices,
        "code" => Command::Code,
        "agree" => Command::Agree,
        "to" => to(rest),
        _ => Command::Unclear(format!("/{word} is not a command; /help lists them")),
    }
}

fn history(rest: &str) -> Command {
    match rest.parse() {
        _ if rest.is_empty() => Command::History(HISTORY),
        Ok(limit @ 1..=500) => Command::History(limit),
        _ => Command::Unclear("/history takes a number from 1 to 500".into()),
    }
}

fn add(rest: &str) -> Command {
    match rest.split_once(char::is_whitespace) {
        Some((name, key)) if !key.trim().is_empty() => {
            let key = key.trim().to_owned();
            named("/add NAME KEY", name, |user| Command::Add { user, key })
        }
        _ => Command::Unclear("/add NAME KEY".into()),
    }
}

fn share(rest: &str) -> Command {
    let (user, count) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    match super::name(user) {
        _ if user.is_empty() => Command::Unclear(SHARE.into()),
        Ok(user) => counted(SHARE, count.trim_start(), |count| Command::Share {
            user,
            count,
        }),
        Err(why) => Command::Unclear(format!("{SHARE}: the name {why}")),
    }
}

/// A number of messages from before. `usage`: the command, and what it takes.
fn counted(usage: &str, rest: &str, command: impl FnOnce(u8) -> Command) -> Command {
    match rest.parse() {
        _ if rest.is_empty() => command(EARLIER),
        Ok(count @ 1..=100) => command(count),
        _ => Command::Unclear(format!("{usage}: N is a number from 1 to 100")),
    }
}

/// `usage`: the command, and what it takes.
fn named(usage: &str, name: &str, command: impl FnOnce(String) -> Command) -> Command {
    let what = usage.split_whitespace().next().unwrap_or_default();
    match super::name(name) {
        _ if name.is_empty() => Command::Unclear(usage.into()),
        Ok(name) => command(name),
        Err(why) => Command::Unclear(format!("{what}: the name {why}")),
    }
}

fn to(rest: &str) -> Command {
    match rest.split_once(char::is_whitespace) {
        Some((name, text)) if !text.trim().is_empty() => match super::name(name) {
            Ok(name) => Command::Say {
                text: text.trim_start().into(),
                to: Some(name),
            },
            Err(why) => Command::Unclear(format!("/to: the name {why}")),
        },
        _ => Command::Unclear("/to NAME text".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn say(text: &str, to: Option<&str>) -> Command {
        Command::Say {
            text: text.into(),
            to: to.map(Into::into),
        }
    }

    #[test]
    fn what_begins_with_a_slash_is_a_command() {
        assert_eq!(parse("/who"), Command::Who);
        assert_eq!(parse("/quit "), Command::Quit);
        assert_eq!(parse("/history"), Command::History(50));
        assert_eq!(parse("/history 7"), Command::History(7));
        assert_eq!(parse("/leave"), Command::Leave);
        assert_eq!(parse("/dm charly"), Command::Direct("charly".into()));
        let share = |count| Command::Share {
            user: "charly".into(),
            count,
        };
        assert_eq!(parse("/share charly"), share(50));
        assert_eq!(parse("/share charly 7"), share(7));
        assert_eq!(parse("/ask"), Command::Ask(50));
        assert_eq!(parse("/revoke phone "), Command::Revoke("phone".into()));
        assert_eq!(
            parse("/to charly  Hello: you"),
            say("Hello: you", Some("charly"))
        );
    }

    #[test]
    fn the_rest_is_a_message_as_it_was_typed() {
        assert_eq!(parse(" a / b "), say(" a / b ", None));
        assert_eq!(parse("//who"), say("/who", None));
        assert_eq!(parse("   "), Command::Nothing);
    }

    #[test]
    fn a_pasted_block_is_a_message_also_for_one_person() {
        assert_eq!(parse("a\n/who"), say("a\n/who", None));
        assert_eq!(parse("/to charly a\nb"), say("a\nb", Some("charly")));
        assert_eq!(parse("//etc/hosts\nb"), say("/etc/hosts\nb", None));
    }

    #[test]
    fn help_tells_what_there_is_in_the_room() {
        let (open, sealed) = (help(false), help(true));
        assert!(
            open.contains("\n/to NAME") && !open.contains("/add"),
            "{open}"
        );
        assert!(
            sealed.contains("\n/add NAME") && !sealed.contains("/to"),
            "{sealed}"
        );
        assert!(!(open + &sealed).contains('{'));
    }

    #[test]
    fn a_command_that_lacks_a_name_says_what_it_takes() {
        for usage in [
            "/remove NAME",
            "/revoke DEVICE",
            "/allow DEVICE",
            "/dm NAME",
        ] {
            let (typed, _) = usage.split_once(' ').unwrap();
            assert_eq!(parse(typed), Command::Unclear(usage.into()));
        }
        assert_eq!(parse("/share"), Command::Unclear(SHARE.into()));
        for (typed, usage) in [("/share charly x", SHARE), ("/ask 101", "/ask [N]")] {
            let said = format!("{usage}: N is a number from 1 to 100");
            assert_eq!(parse(typed), Command::Unclear(said));
        }
    }

    #[test]
    fn what_is_unclear_is_never_sent() {
        for line in [
            "/whoo",
            "/history 0",
            "/history 501",
            "/history x",
            "/to charly",
            "/to a/b text",
            "/to",
            "/revoke",
            "/leave now",
            "/forget all",
            "/share",
            "/share charly 101",
            "/ask 0",
            "/allow a b",
            "/who\nknows",
            "/quit\nnow",
            "/etc/hosts\nb",
        ] {
            assert!(matches!(parse(line), Command::Unclear(_)), "{line}");
        }
    }
}
