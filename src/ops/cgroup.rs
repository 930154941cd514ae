//! The memory limit that a control group sets, of both versions. Pure: files are read by the
//! caller.
//!
//! Source: <https://docs.kernel.org/admin-guide/cgroup-v2.html>,
//! <https://docs.kernel.org/admin-guide/cgroup-v1/memory.html>.

use std::path::{Path, PathBuf};

const V1: &str = "/sys/fs/cgroup/memory";
const V2: &str = "/sys/fs/cgroup";
/// Version 1 says "no limit" with a number near 2^63, rounded to pages.
const UNLIMITED: u64 = 1 << 62;

/// The least limit in bytes of the group and all groups above it; `None`: there is none. `groups`
/// is `/proc/self/cgroup`.
pub(crate) fn memory_limit(groups: &str, read: impl Fn(&Path) -> Option<String>) -> Option<u64> {
    let limits = groups.lines().filter_map(|line| {
        let mut fields = line.splitn(3, ':');
        let (id, controllers, path) = (fields.next()?, fields.next()?, fields.next()?);
        let (root, file) = match (id, controllers) {
            ("0", "") => (V2, "memory.max"),
            (_, controllers) if controllers.split(',').any(|name| name == "memory") => {
                (V1, "memory.limit_in_bytes")
            }
            _ => return None,
        };
        // Inside a container the path may be the host's; then only the root that is mounted there
        // is found.
        let group = PathBuf::from(root).join(path.trim_start_matches('/'));
        let up = group.ancestors().take_while(|dir| dir.starts_with(root));
        up.filter_map(|dir| number(&read(&dir.join(file))?)).min()
    });
    limits.min()
}

/// `max` (version 2) and near 2^63 (version 1) are no limits.
fn number(text: &str) -> Option<u64> {
    text.trim().parse().ok().filter(|bytes| *bytes < UNLIMITED)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    fn limit(groups: &str, files: &[(&str, &str)]) -> Option<u64> {
        let files: HashMap<_, _> = files
            .iter()
            .map(|(path, text)| (PathBuf::from(path), (*text).to_owned()))
            .collect();
        memory_limit(groups, |path| files.get(path).cloned())
    }

    #[test]
    fn version_2_takes_the_least_limit_on_the_way_up() {
        let files = [
            ("/sys/fs/cgroup/a/b/memory.max", "max\n"),
            ("/sys/fs/cgroup/a/memory.max", "1048576\n"),
        ];
        assert_eq!(limit("0::/a/b\n", &files), Some(1_048_576));
        assert_eq!(limit("0::/a/b\n", &files[..1]), None);
    }

    #[test]
    fn version_2_in_a_container_finds_the_mounted_root() {
        assert_eq!(
            limit("0::/\n", &[("/sys/fs/cgroup/memory.max", "536870912\n")]),
            Some(536_870_912)
        );
        assert_eq!(
            limit("0::/../../x\n", &[("/sys/fs/cgroup/memory.max", "5\n")]),
            Some(5)
        );
    }

    #[test]
    fn version_1_reads_the_memory_controller_and_knows_no_limit() {
        let groups = "11:cpu,cpuacct:/x\n9:memory:/docker/1\n";
        assert_eq!(
            limit(
                groups,
                &[(
                    "/sys/fs/cgroup/memory/docker/1/memory.limit_in_bytes",
                    "1000\n"
                )]
            ),
            Some(1000)
        );
        assert_eq!(
            limit(
                groups,
                &[(
                    "/sys/fs/cgroup/memory/memory.limit_in_bytes",
                    "9223372036854771712\n"
                )]
            ),
            None
        );
    }

    #[test]
    fn nonsense_is_no_limit() {
        assert_eq!(limit("", &[]), None);
        assert_eq!(
            limit("::\nx\n0:", &[("/sys/fs/cgroup/memory.max", "many")]),
            None
        );
    }
}
