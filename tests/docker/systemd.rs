//! What the unit for systemd promises.

use super::read;
use safe_chat::config::Config;
use std::time::Duration;

#[test]
fn a_unit_gives_up_on_a_wrong_configuration_and_gives_a_drain_its_time() {
    let unit = read("packaging/systemd/safe-chat.service");
    let value = |key: &str| {
        let value = unit
            .lines()
            .find_map(|line| line.strip_prefix(key)?.strip_prefix('='));
        value.unwrap_or_else(|| panic!("{key} is missing"))
    };
    // What no start mends ends it: a check that fails at once comes to the limit of starts, which
    // nodes that wait for their servers never reach.
    assert!(value("ExecStartPre").ends_with("safe-chat config check"));
    let starts = |key| value(key).parse::<u64>().unwrap();
    let patience = Config::default().node.start_timeout().as_secs();
    assert!(starts("StartLimitBurst") > starts("StartLimitIntervalSec").div_ceil(patience));
    assert!(starts("StartLimitBurst") < starts("StartLimitIntervalSec"));
    let wrong = safe_chat::cli::WRONG_CONFIGURATION.to_string();
    assert_eq!(value("RestartPreventExitStatus"), wrong);
    assert!(value("ExecStart").ends_with("safe-chat serve"));
    assert!(value("ExecReload").contains("HUP"));
    let stop = Duration::from_secs(value("TimeoutStopSec").parse().unwrap());
    assert!(stop >= Config::default().node.drain_timeout() + Duration::from_secs(5));
    assert!(value("LimitNOFILE").parse::<u64>().unwrap() >= 1_000_000);
    for (key, expected) in [
        ("Restart", "on-failure"),
        ("DynamicUser", "yes"),
        ("CapabilityBoundingSet", ""),
        ("ProtectSystem", "strict"),
        ("NoNewPrivileges", "yes"),
    ] {
        assert_eq!(value(key), expected, "{key}");
    }
}
