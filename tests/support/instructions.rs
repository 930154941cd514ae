//! Counts the instructions of a hot path and compares them with those that are stored.
//!
//! The test runs itself again as a child, which this process steps through the path one instruction
//! at a time (ptrace): iai-callgrind needs valgrind, which cargo cannot install, and most virtual
//! machines have no hardware counters. What the kernel does counts as one instruction per call.

use nix::{
    errno::Errno,
    sys::{
        ptrace,
        signal::{Signal, raise},
        wait::{WaitPidFlag, WaitStatus, waitpid},
    },
    unistd::Pid,
};
use std::{
    env, fs,
    hint::black_box,
    path::PathBuf,
    process::{Command, Stdio},
    sync::{Mutex, PoisonError},
};

/// Tells a child that it is one.
const CHILD: &str = "INSTRUCTIONS_OF";
/// Set: what is counted is stored.
const STORE: &str = "STORE_INSTRUCTIONS";
/// How to do that.
const COMMAND: &str = "STORE_INSTRUCTIONS=1 cargo test --workspace --lib instructions";
/// How far a count may be from the stored one, in percent.
const TOLERANCE: u64 = 10;
/// The child sends it to itself where counting begins and where it ends.
const MARK: Signal = Signal::SIGUSR2;
/// One form of memcpy and the like on every machine, and none whose repetitions count.
const TUNABLES: &str = "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX2,-AVX,-AVX_Fast_Unaligned_Load,\
                        -ERMS,-FSRM,-SSSE3,-SSE4_1,-SSE4_2";
/// Counts depend on both.
const BUILD: [&str; 2] = [env!("SAFE_CHAT_PROFILE"), env::consts::ARCH];

/// Fails when a path takes neither as many instructions as are stored nor about as many. `test` of
/// `module` is the test that calls this, and nothing else. `prepare` is not counted; what it
/// returns is, but for dropping what that returns.
pub(crate) fn check<F, R>(module: &str, test: &str, prepare: impl FnOnce() -> F)
where
    F: FnOnce() -> R,
{
    let within = module.split_once("::").map_or(module, |(_, within)| within);
    let name = format!("{within}::{test}");
    if env::var_os(CHILD).is_some() {
        let path = prepare();
        ptrace::traceme().expect("a parent that traces");
        // What the marks themselves take.
        mark();
        mark();
        mark();
        let done = black_box(path());
        mark();
        return drop(done);
    }
    let [marks, all] = counted(&name);
    let count = all - marks;
    match (env::var_os(STORE), stored(&name)) {
        (Some(_), _) => store(&name, count),
        (None, Some((wanted, rustc))) => {
            println!("{name} took {count} instructions; {wanted} are stored");
            let apart = count.abs_diff(wanted) * 100;
            assert!(
                apart <= wanted * TOLERANCE,
                "{name} took {count} instructions, and {wanted} are stored, of {rustc} (this is \
                 {}): more than {TOLERANCE} % apart. If that is meant: {COMMAND}",
                env!("SAFE_CHAT_RUSTC"),
            );
        }
        (None, None) => println!(
            "{name} took {count} instructions; none are stored for {BUILD:?}. To do so: {COMMAND}"
        ),
    }
}

fn mark() {
    raise(MARK).expect("a signal to this thread");
}

/// Instructions between each two marks of a child that runs this test.
fn counted(test: &str) -> [u64; 2] {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(CHILD, test)
        .env("GLIBC_TUNABLES", TUNABLES)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    // By name and not as a child of the standard library, which would wait for it as well.
    let leader = Pid::from_raw(command.spawn().expect("a child").id() as i32);
    let (mut counts, mut marks) = ([0, 0], 0);
    loop {
        // Also of its other threads, and of no child of another test.
        let flags = WaitPidFlag::__WALL | WaitPidFlag::__WNOTHREAD;
        let (thread, signal) = match waitpid(Pid::from_raw(-1), Some(flags)) {
            Ok(WaitStatus::Stopped(thread, signal)) => (thread, signal),
            Ok(WaitStatus::Exited(process, code)) if process == leader => {
                assert_eq!((code, marks), (0, 4), "{test} failed in its child");
                return counts;
            }
            Ok(_) | Err(Errno::EINTR) => continue,
            Err(why) => panic!("{test}: its child is gone: {why}"),
        };
        let is_step = signal == Signal::SIGTRAP;
        let passed_on = (signal != MARK && !is_step).then_some(signal);
        marks += usize::from(signal == MARK);
        if marks % 2 == 1 {
            counts[marks / 2] += u64::from(is_step);
            ptrace::step(thread, passed_on).expect("a step");
        } else {
            ptrace::cont(thread, passed_on).expect("it goes on");
        }
    }
}

fn file() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/golden/instructions.txt")
}

/// What a line of the file says, if it is one of this build: `profile architecture test count
/// rustc`.
fn parse(line: &str) -> Option<(&str, u64, &str)> {
    let mut words = line.splitn(5, ' ');
    let build = [words.next()?, words.next()?];
    let (test, count, rustc) = (words.next()?, words.next()?, words.next()?);
    (build == BUILD).then_some((test, count.parse().ok()?, rustc))
}

/// The count that is stored, and of which compiler.
fn stored(test: &str) -> Option<(u64, String)> {
    let text = fs::read_to_string(file()).expect("the stored counts");
    let mut lines = text.lines().filter_map(parse);
    let (_, count, rustc) = lines.find(|(name, ..)| *name == test)?;
    Some((count, rustc.to_owned()))
}

fn store(test: &str, count: u64) {
    // Tests run beside each other.
    static FILE: Mutex<()> = Mutex::new(());
    let _alone = FILE.lock().unwrap_or_else(PoisonError::into_inner);
    let text = fs::read_to_string(file()).expect("the stored counts");
    let is_other = |line: &&str| parse(line).is_none_or(|(name, ..)| name != test);
    let [profile, architecture] = BUILD;
    let rustc = env!("SAFE_CHAT_RUSTC");
    let line = format!("{profile} {architecture} {test} {count} {rustc}");
    let mut lines: Vec<_> = text.lines().filter(is_other).chain([&*line]).collect();
    lines.sort();
    fs::write(file(), lines.join("\n") + "\n").expect("the stored counts");
}
