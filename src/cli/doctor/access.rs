//! Who may come in: whether everybody may where others reach this node, and whether the keys of
//! tokens can be read.

use super::{Finding, State};
use crate::{access::Access, config::Config};

pub(super) fn look(config: &Config) -> Vec<Finding> {
    vec![rooms(config), keys(config)]
}

fn rooms(config: &Config) -> Finding {
    let finding = |state, message| Finding::new("access: rooms", state, message);
    let host = &config.gateway.host;
    match (config.access.is_open(), config.gateway.is_loopback()) {
        (false, _) => finding(
            State::Ok,
            format!(
                "{} rules, all other rooms {:?}",
                config.access.rooms.len(),
                config.access.default
            )
            .to_lowercase(),
        ),
        (true, true) => finding(State::Ok, format!("open, to whoever reaches {host}")),
        (true, false) => finding(
            State::Warn,
            format!(
                "open: whoever reaches {host} may read every room and take any free name; set \
                 access.rooms or access.default, or let nobody reach the port who must not"
            ),
        ),
    }
}

fn keys(config: &Config) -> Finding {
    let finding = |state, message| Finding::new("access: keys", state, message);
    let access = &config.access;
    let files = access.keys.len() + access.hs256_keys.len();
    match Access::load(access) {
        Err(why) => finding(State::Fail, why.to_string()),
        Ok(_) if files == 0 && access.jwks.is_none() => {
            finding(State::Skipped, "no tokens are used here".into())
        }
        Ok(_) => finding(
            State::Ok,
            format!(
                "{files} files{}",
                match access.jwks {
                    Some(_) => ", and published ones, which were not asked for",
                    None => "",
                }
            ),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_node_that_lets_everybody_in_is_warned_of() {
        let mut config = Config::default();
        assert_eq!(rooms(&config).state, State::Ok);
        config.gateway.host = "0.0.0.0".into();
        assert_eq!(rooms(&config).state, State::Warn);
        config.access.rooms = vec!["team-*=token".into()];
        assert_eq!(rooms(&config).state, State::Ok);
        config.access.keys = vec!["/nowhere".into()];
        let found = keys(&config);
        assert_eq!(found.state, State::Fail);
        assert!(found.message.contains("/nowhere"), "{}", found.message);
    }
}
