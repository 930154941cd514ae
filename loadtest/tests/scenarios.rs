//! Every scenario, small, against the bare server of this crate: it runs to its end, misses nothing,
//! and its report can be read again.

use loadtest::{
    bare::Server,
    engine::Engine,
    measure::{Environment, Recorder},
    report::{self, Limit, Report},
    scenario::{Plan, Scenario, Shape},
};
use std::thread;

/// A server that ends with the process of the tests.
fn server() -> String {
    let server = Server::new("127.0.0.1:0".parse().unwrap(), None).unwrap();
    let url = format!("http://{}", server.address().unwrap());
    thread::spawn(move || server.run());
    url
}

fn run(scenario: Scenario, shape: Shape) -> (Report, Recorder) {
    let plan = Plan::new(scenario, shape).unwrap();
    let recorder = Recorder::new(vec![std::process::id()], true, None);
    let mut engine = Engine::new(&[server()], 64, recorder).unwrap();
    let findings = plan.run(&mut engine).unwrap();
    let report = Report::new(&plan, &engine.recorder, findings, Environment::here(&[]));
    assert_eq!(report.broken, [""; 0], "{scenario:?}");
    assert_eq!(report.errors, [], "{scenario:?}");
    (report, engine.recorder)
}

fn shape(rooms: usize, members: usize, rate: f64) -> Shape {
    Shape {
        rooms: Some(rooms),
        members: Some(members),
        rate: Some(rate),
        seconds: Some(1.2),
        churn: 50.0,
        missed: 20,
        depth: 3_000,
        limit: 1e6,
        ..Shape::default()
    }
}

#[test]
fn everybody_gets_every_message_of_a_fan_out() {
    let (report, recorder) = run(Scenario::Fanout, shape(1, 20, 100.0));
    let figure = |name: &str| report.figures[name];
    assert_eq!(figure("sent"), 120.0);
    assert_eq!(figure("answered"), 120.0);
    assert_eq!(figure("delivered"), 120.0 * 20.0);
    assert!(figure("delivery.p50") <= figure("last.p50"));
    assert!(figure("delivery.uncorrected.p99") <= figure("delivery.p99"));

    let folder = tempfile::tempdir().unwrap();
    report::write(folder.path(), &report, &recorder).unwrap();
    let again = report::read(folder.path()).unwrap();
    assert!(again.figures.keys().eq(report.figures.keys()));
    assert_eq!(
        again.figures["delivery.p99"],
        report.figures["delivery.p99"]
    );
    let page = std::fs::read_to_string(folder.path().join("report.html")).unwrap();
    assert!(page.contains("delivery.p99") && !page.contains("{{"));
    let log = std::fs::read_to_string(folder.path().join("delivery.hlog")).unwrap();
    assert!(log.contains("Tag=delivery"), "{log}");
    let percentiles = std::fs::read_to_string(folder.path().join("delivery.hgrm")).unwrap();
    assert!(
        percentiles.contains("Total count    =         2400"),
        "{percentiles}"
    );
    assert!(report::compare(&report, &again).contains("1.00"));
    let holds = |limit: &str| limit.parse::<Limit>().unwrap().check(&again).is_ok();
    assert!(holds("delivered=2400") && !holds("delivered>2400"));
}

#[test]
fn bursts_go_out_at_once_and_a_saturated_run_goes_as_fast_as_it_can() {
    let (report, _) = run(
        Scenario::Burst,
        Shape {
            burst: Some(8),
            ..shape(1, 10, 80.0)
        },
    );
    assert_eq!(report.figures["sent"], 96.0);
    let (fast, _) = run(
        Scenario::Burst,
        Shape {
            saturate: true,
            ..shape(1, 10, 80.0)
        },
    );
    assert!(fast.figures["sent"] > 10.0 * 96.0);
}

#[test]
fn rooms_of_one_size_and_of_many_sizes_hear_only_their_own() {
    for scenario in [Scenario::Rooms, Scenario::Mixed] {
        let (report, _) = run(scenario, shape(5, 25, 100.0));
        assert_eq!(report.figures["answered"], 120.0);
    }
}

#[test]
fn who_comes_back_gets_what_it_missed() {
    let (report, _) = run(Scenario::Storm, shape(4, 40, 0.0));
    assert_eq!(report.figures["storm.sessions"], 36.0);
    // Each of those who came back has the 20 messages of its room, and those who stayed, too.
    assert_eq!(report.figures["delivered"], 40.0 * 20.0);
    assert!(report.figures["resume.p99"] > 0.0);
    let (report, _) = run(Scenario::Deep, shape(1, 3, 20.0));
    assert!(report.figures["deep.head"] >= 3_000.0);
    assert!(report.figures["resume.p99"] > 0.0 && report.figures["deep.returns"] >= 20.0);
    let (report, _) = run(Scenario::Churn, shape(4, 40, 100.0));
    assert!(report.figures["churn.moves"] > 20.0);
    assert!(!report.figures.contains_key("last.p99"));
}

#[test]
fn a_knee_is_found_step_by_step() {
    let (report, _) = run(
        Scenario::Knee,
        Shape {
            seconds: Some(0.1),
            limit: 0.0,
            ..shape(1, 5, 100.0)
        },
    );
    assert_eq!(report.figures["knee"], 0.0);
    assert!(report.steps.len() == 3 && report.steps.iter().all(|step| !step.passed));
}

#[test]
fn idle_sessions_are_counted_and_leave() {
    let (report, _) = run(
        Scenario::Idle,
        Shape {
            seconds: Some(0.5),
            ..shape(2, 30, 10.0)
        },
    );
    assert_eq!(report.figures["connected"], 30.0);
    assert!(report.figures.contains_key("memory.after_they_left_kib"));
}
