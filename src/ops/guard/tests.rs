//! What a login gets, from where, and how often.

use super::*;
use crate::ops::accounts::testing::line;
use tokio::time::advance;

const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
const ELSEWHERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
/// Logins from one address that are looked at, at once.
const AT_ONCE: usize = 20;

fn guard_of(config: &Config) -> Guard {
    Guard::new(config, Accounts::load(config).unwrap())
}

fn guard() -> Guard {
    guard_of(&Config {
        user: "me".into(),
        password: Some("pass:word".into()),
        ..Config::default()
    })
}

/// With alice, who operates, and bob, who looks; their passwords are one and two.
fn staffed() -> (tempfile::NamedTempFile, Guard) {
    let file = tempfile::NamedTempFile::new().unwrap();
    let text = [line("alice", "operate", "one"), line("bob", "read", "two")].concat();
    std::fs::write(file.path(), text).unwrap();
    let guard = guard_of(&Config {
        operators_file: Some(file.path().to_owned()),
        ..Config::default()
    });
    (file, guard)
}

fn login(scheme: &str, text: &str) -> HeaderMap {
    let value = format!("{scheme} {}", BASE64_STANDARD.encode(text));
    let value = HeaderValue::from_str(&value).unwrap();
    HeaderMap::from_iter([(header::AUTHORIZATION, value)])
}

fn basic(text: &str) -> HeaderMap {
    login("Basic", text)
}

async fn check(
    guard: &Guard,
    from: IpAddr,
    method: Method,
    headers: &HeaderMap,
) -> Result<Visitor, ApiError> {
    let visitor = guard.log_in(from, headers).await?;
    let needs = match method {
        Method::GET => Role::Read,
        _ => Role::Operate,
    };
    guard.allow(&visitor.account, needs, &method, headers)?;
    Ok(visitor)
}

/// What a login gets.
async fn status(guard: &Guard, from: IpAddr, headers: &HeaderMap) -> StatusCode {
    let checked = check(guard, from, Method::GET, headers).await;
    checked.map_or_else(|error| error.status, |_| StatusCode::OK)
}

/// How often in so many times it gets that.
async fn count(
    guard: &Guard,
    from: IpAddr,
    headers: &HeaderMap,
    (times, wanted): (usize, StatusCode),
) -> usize {
    let mut count = 0;
    for _ in 0..times {
        count += usize::from(status(guard, from, headers).await == wanted);
    }
    count
}

/// The login, with the pass that it was given.
fn with_pass(mut login: HeaderMap, visitor: &Visitor) -> HeaderMap {
    let pass = visitor.pass.as_ref().expect("a new pass").to_str().unwrap();
    let cookie = pass.split(';').next().unwrap();
    login.insert(header::COOKIE, HeaderValue::from_str(cookie).unwrap());
    login
}

#[tokio::test]
async fn only_the_right_password_of_the_right_user_is_let_in() {
    let guard = guard();
    let right = login("basic", "me:pass:word");
    assert!(check(&guard, HERE, Method::POST, &right).await.is_ok());
    for wrong in [
        "me:pass",
        "me:pass:word ",
        "you:pass:word",
        "me",
        "",
        ":",
        "me:",
        ":pass:word",
    ] {
        let answer = status(&guard, HERE, &basic(wrong)).await;
        assert_eq!(answer, StatusCode::UNAUTHORIZED, "{wrong}");
    }
    for headers in [login("Bearer", "me:pass:word"), HeaderMap::new()] {
        assert_eq!(
            status(&guard, HERE, &headers).await,
            StatusCode::UNAUTHORIZED
        );
    }
}

#[tokio::test]
async fn who_may_look_does_nothing_and_is_told_so() {
    let (_file, guard) = staffed();
    let bob = basic("bob:two");
    assert!(check(&guard, HERE, Method::GET, &bob).await.is_ok());
    let refused = check(&guard, HERE, Method::POST, &bob).await.err().unwrap();
    assert_eq!(refused.status, StatusCode::FORBIDDEN);
    assert!(refused.message.contains("bob may look") && refused.message.contains("operate"));
    let alice = basic("alice:one");
    assert!(check(&guard, HERE, Method::POST, &alice).await.is_ok());
    // With a file the default password is nobody's.
    let default = status(&guard, HERE, &basic("admin:safe-chat")).await;
    assert_eq!(default, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn a_web_page_changes_nothing() {
    let mut headers = basic("me:pass:word");
    let origin = HeaderValue::from_static("https://evil.example");
    headers.insert(header::ORIGIN, origin);
    let refused = check(&guard(), HERE, Method::POST, &headers).await.err();
    assert_eq!(refused.unwrap().status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn another_page_reads_nothing_and_a_link_to_this_one_works() {
    let guard = guard();
    let read = async |fetched: &[(&'static str, &'static str)]| {
        let mut headers = basic("me:pass:word");
        for (name, value) in fetched {
            headers.insert(*name, HeaderValue::from_static(value));
        }
        status(&guard, HERE, &headers).await == StatusCode::OK
    };
    let cross = ("sec-fetch-site", "cross-site");
    assert!(!read(&[("origin", "https://evil.example")]).await);
    assert!(!read(&[cross, ("sec-fetch-mode", "no-cors")]).await);
    assert!(read(&[cross, ("sec-fetch-mode", "navigate")]).await);
    let same = ("sec-fetch-site", "same-origin");
    assert!(read(&[same, ("sec-fetch-mode", "cors")]).await);
    assert!(read(&[("sec-fetch-site", "none")]).await);
}

#[tokio::test]
async fn on_loopback_no_other_name_leads_to_it() {
    let asked = async |listens: &str, as_host: &'static str| {
        let guard = guard_of(&Config {
            host: listens.into(),
            advertise: Some("node-1.example".into()),
            password: Some("pass:word".into()),
            user: "me".into(),
            ..Config::default()
        });
        let mut headers = basic("me:pass:word");
        headers.insert(header::HOST, HeaderValue::from_static(as_host));
        status(&guard, HERE, &headers).await == StatusCode::OK
    };
    for own in [
        "127.0.0.1:8558",
        "127.0.0.2",
        "[::1]:8558",
        "localhost:1",
        "Node-1.example",
    ] {
        assert!(asked("127.0.0.1", own).await, "{own}");
    }
    assert!(!asked("127.0.0.1", "evil.example:8558").await);
    // There the default password is not allowed.
    assert!(asked("0.0.0.0", "node-1.internal:8558").await);
}

#[tokio::test(start_paused = true)]
async fn guessing_is_slow_and_keeps_only_its_own_address_out() {
    let (_file, guard) = staffed();
    let (right, wrong) = (basic("alice:one"), basic("alice:guess"));
    let tried = (100, StatusCode::UNAUTHORIZED);
    assert_eq!(count(&guard, ELSEWHERE, &wrong, tried).await, AT_ONCE);
    // Right or wrong is not told to who guesses too fast, though the login be a known one.
    assert_eq!(status(&guard, HERE, &right).await, StatusCode::OK);
    assert_eq!(
        status(&guard, ELSEWHERE, &right).await,
        StatusCode::TOO_MANY_REQUESTS
    );
    assert_eq!(status(&guard, HERE, &right).await, StatusCode::OK);
    advance(Duration::from_secs(3)).await;
    assert_eq!(count(&guard, ELSEWHERE, &wrong, tried).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_network_guesses_as_one_address() {
    let guard = guard();
    let mut heard = 0;
    for n in 0..100 {
        let from = format!("2001:db8::{n:x}").parse().unwrap();
        let answer = status(&guard, from, &basic(&format!("me:{n}"))).await;
        heard += usize::from(answer == StatusCode::UNAUTHORIZED);
    }
    assert_eq!(heard, AT_ONCE);
}

/// All come from one address, as behind a NAT.
#[tokio::test(start_paused = true)]
async fn who_guesses_keeps_no_operator_out_who_was_there_before() {
    let (_file, guard) = staffed();
    let alice = check(&guard, HERE, Method::GET, &basic("alice:one"))
        .await
        .unwrap();
    let alice = with_pass(basic("alice:one"), &alice);
    let bob = check(&guard, HERE, Method::GET, &basic("bob:two"))
        .await
        .unwrap();
    let guesses = (100, StatusCode::UNAUTHORIZED);
    count(&guard, HERE, &basic("alice:guess"), guesses).await;
    assert_eq!(status(&guard, HERE, &alice).await, StatusCode::OK);
    // Also when the login is not remembered any more.
    for _ in 0..20 {
        advance(Duration::from_secs(60)).await;
        count(&guard, HERE, &basic("alice:guess"), guesses).await;
        assert_eq!(status(&guard, HERE, &alice).await, StatusCode::OK);
    }
    // A pass is of its operator: with it nobody guesses for another one, nor faster for this one.
    let mine = with_pass(basic("alice:guess"), &bob);
    assert_eq!(
        status(&guard, HERE, &mine).await,
        StatusCode::TOO_MANY_REQUESTS
    );
    advance(Duration::from_secs(60)).await;
    let mut stolen = alice.clone();
    let guess = basic("alice:guess").remove(header::AUTHORIZATION);
    stolen.insert(header::AUTHORIZATION, guess.unwrap());
    assert_eq!(count(&guard, HERE, &stolen, guesses).await, AT_ONCE);
}

#[tokio::test]
async fn requests_without_a_login_keep_nobody_out() {
    let guard = guard();
    let refused = (1000, StatusCode::UNAUTHORIZED);
    assert_eq!(count(&guard, HERE, &HeaderMap::new(), refused).await, 1000);
    assert_eq!(
        status(&guard, HERE, &basic("me:pass:word")).await,
        StatusCode::OK
    );
}

#[tokio::test(start_paused = true)]
async fn every_operator_has_a_rate_of_its_own() {
    let (_file, guard) = staffed();
    let heard = (1000, StatusCode::OK);
    assert_eq!(count(&guard, HERE, &basic("bob:two"), heard).await, 100);
    assert_eq!(count(&guard, HERE, &basic("alice:one"), heard).await, 100);
    advance(Duration::from_secs(1)).await;
    assert_eq!(count(&guard, ELSEWHERE, &basic("bob:two"), heard).await, 20);
}

#[tokio::test(start_paused = true)]
async fn a_right_login_is_looked_up_once_in_some_minutes_and_a_wrong_one_never_kept() {
    let (_file, guard) = staffed();
    let alice = basic("alice:one");
    for _ in 0..5 {
        // More than may be looked up at once.
        let heard = (AT_ONCE * 2, StatusCode::OK);
        assert_eq!(count(&guard, HERE, &alice, heard).await, AT_ONCE * 2);
        advance(Duration::from_secs(100)).await;
    }
    assert_eq!(guard.logins.remembered(), 1);
    count(
        &guard,
        ELSEWHERE,
        &basic("alice:guess"),
        (50, StatusCode::OK),
    )
    .await;
    assert_eq!(guard.logins.remembered(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_is_remembered_is_forgotten_when_the_file_changes() {
    let (file, guard) = staffed();
    let [alice, bob] = [basic("alice:one"), basic("bob:two")];
    for login in [&alice, &bob] {
        assert_eq!(status(&guard, HERE, login).await, StatusCode::OK);
    }
    let text = [line("alice", "read", "one"), line("bob", "read", "new")].concat();
    std::fs::write(file.path(), text).unwrap();
    guard.accounts.reload().await;
    assert_eq!(status(&guard, HERE, &bob).await, StatusCode::UNAUTHORIZED);
    let demoted = check(&guard, HERE, Method::POST, &alice)
        .await
        .err()
        .unwrap();
    assert_eq!(demoted.status, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn many_requests_with_one_login_at_once_are_looked_up_once() {
    let (_file, guard) = staffed();
    let alice = basic("alice:one");
    let all = (0..AT_ONCE * 4).map(|_| status(&guard, HERE, &alice));
    let answers = futures::future::join_all(all).await;
    assert_eq!(answers, vec![StatusCode::OK; AT_ONCE * 4]);
    assert_eq!(guard.logins.remembered(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_guesses_at_once_are_no_more_than_one_after_the_other() {
    let (_file, guard) = staffed();
    let guesses: Vec<_> = (0..200).map(|n| basic(&format!("alice:{n}"))).collect();
    let all = guesses.iter().map(|guess| status(&guard, HERE, guess));
    let answers = futures::future::join_all(all).await;
    let heard = answers.iter().filter(|it| **it == StatusCode::UNAUTHORIZED);
    assert_eq!(heard.count(), AT_ONCE);
    assert_eq!(guard.logins.remembered(), 0);
}

#[tokio::test]
async fn without_a_password_there_is_no_management() {
    let guard = guard_of(&Config {
        password: Some(String::new()),
        ..Config::default()
    });
    assert_eq!(
        status(&guard, HERE, &basic("admin:")).await,
        StatusCode::NOT_FOUND
    );
}
