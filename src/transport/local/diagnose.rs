//! Why this machine does not allow a local cluster, and the command that changes it.

use std::fs;
use std::path::Path;

use nix::errno::Errno;

use super::control::Refusal;
use super::{id_map, init, node_init};

/// What is known of the machine that can be a reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Facts {
    /// The controller runs as root.
    pub root: bool,
    /// Debian's switch: `0` forbids user namespaces to ordinary users.
    pub unprivileged_userns_clone: Option<u64>,
    /// How many user namespaces a user may have.
    pub max_user_namespaces: Option<u64>,
    /// Ubuntu's switch: `1` gives the user namespaces of ordinary programs no rights.
    pub apparmor_restricts: Option<u64>,
    /// A filter of system calls is in force on this process, as a container runtime sets one.
    pub seccomp: bool,
    /// The process runs in a container.
    pub container: bool,
    /// The kernel's release, as far as it is two numbers.
    pub kernel: Option<(u32, u32)>,
}

impl Facts {
    /// Looks at this machine.
    pub(super) fn gather() -> Self {
        let number = |path: &str| fs::read_to_string(path).ok()?.trim().parse().ok();
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        let seccomp = status
            .lines()
            .find_map(|line| line.strip_prefix("Seccomp:"))
            .is_some_and(|mode| mode.trim() != "0");
        Self {
            root: nix::unistd::geteuid().is_root(),
            unprivileged_userns_clone: number("/proc/sys/kernel/unprivileged_userns_clone"),
            max_user_namespaces: number("/proc/sys/user/max_user_namespaces"),
            apparmor_restricts: number("/proc/sys/kernel/apparmor_restrict_unprivileged_userns"),
            seccomp,
            container: ["/.dockerenv", "/run/.containerenv"].iter().any(|mark| Path::new(mark).exists()),
            kernel: fs::read_to_string("/proc/sys/kernel/osrelease").ok().and_then(|text| kernel(&text)),
        }
    }

    /// What happened, and every reason known for it with the command to run.
    pub(super) fn explain(&self, refusal: &Refusal) -> String {
        let mut said = refusal.what.clone();
        for reason in self.reasons(refusal) {
            said.push_str("\n  ");
            said.push_str(&reason);
        }
        said
    }

    fn reasons(&self, refusal: &Refusal) -> Vec<String> {
        let mut reasons = Vec::new();
        let Some(errno) = refusal.errno.map(Errno::from_raw) else { return reasons };
        let user_namespace = [id_map::CREATE, id_map::MAP].contains(&refusal.step.as_str());
        let namespaces = user_namespace || refusal.step == init::NAMESPACES;
        let denied = matches!(errno, Errno::EPERM | Errno::EACCES);
        if let Some((major, minor)) = self.kernel
            && (major, minor) < (5, 12)
        {
            reasons.push(format!(
                "This kernel is {major}.{minor}; a local cluster needs 5.12 or newer (overlays and mount attributes in user \
                 namespaces). Start a newer kernel, or test hosts of your own over ssh."
            ));
        }
        if namespaces && denied {
            if !self.root && self.unprivileged_userns_clone == Some(0) {
                reasons.push(
                    "This machine allows user namespaces to root only. Allow them to everybody: \
                     sudo sysctl -w kernel.unprivileged_userns_clone=1"
                        .to_owned(),
                );
            }
            if self.apparmor_restricts.is_some_and(|value| value != 0) {
                reasons.push(
                    "AppArmor takes all rights from the user namespaces of ordinary programs here. Allow them: \
                     sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
                        .to_owned(),
                );
            }
        }
        if namespaces && errno == Errno::ENOSPC {
            reasons.push(match self.max_user_namespaces {
                Some(0) => "This machine allows no user namespaces at all. Allow some: \
                            sudo sysctl -w user.max_user_namespaces=10000"
                    .to_owned(),
                _ => "A limit on namespaces is reached. See what it is with `sysctl user` and raise it, for example: \
                      sudo sysctl -w user.max_user_namespaces=10000 user.max_net_namespaces=10000"
                    .to_owned(),
            });
        }
        if user_namespace && matches!(errno, Errno::EINVAL | Errno::ENOSYS) {
            reasons.push("This kernel was built without user namespaces (CONFIG_USER_NS).".to_owned());
        }
        let covered_proc = denied && refusal.step.contains(node_init::PROC);
        if self.container && ((namespaces && denied) || covered_proc) {
            reasons.push(
                "This is a container whose runtime forbids it. Start the container with: \
                 --security-opt seccomp=unconfined --security-opt apparmor=unconfined --security-opt \
                 systempaths=unconfined (Docker, Podman: --security-opt unmask=ALL for the last), or with --privileged"
                    .to_owned(),
            );
        } else if namespaces && denied && self.seccomp {
            reasons.push(
                "A seccomp filter is in force on this process (a sandbox, or a service with SystemCallFilter= or \
                 RestrictNamespaces=). Run it outside, or set RestrictNamespaces=no in the unit."
                    .to_owned(),
            );
        } else if covered_proc {
            reasons.push(
                "Something is mounted over a part of /proc, and so the kernel gives user namespaces no /proc of their own. \
                 See what with `findmnt -R /proc`, and unmount it."
                    .to_owned(),
            );
        }
        if namespaces && denied && reasons.is_empty() {
            reasons.push(
                "No switch of the kernel forbids it: a chroot, a security module or a sandbox around this process does. \
                 `unshare --user --map-root-user --net true` shows it without Schism."
                    .to_owned(),
            );
        }
        reasons
    }
}

/// The first two numbers of a kernel's release.
fn kernel(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.trim().split(|character: char| !character.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(step: &str, errno: Errno) -> Refusal {
        Refusal { step: step.into(), errno: Some(errno as i32), what: errno.desc().into() }
    }

    fn modern() -> Facts {
        Facts { kernel: Some((6, 1)), max_user_namespaces: Some(1000), ..Facts::default() }
    }

    #[track_caller]
    fn names(facts: &Facts, refusal: &Refusal, command: &str) {
        let said = facts.explain(refusal);
        assert!(said.contains(command), "{said:?} does not say {command:?}");
        assert_eq!(said.lines().count(), 2, "one reason, not several: {said:?}");
    }

    #[test]
    fn each_reason_names_its_command() {
        let create = refused(id_map::CREATE, Errno::EPERM);
        names(
            &Facts { unprivileged_userns_clone: Some(0), ..modern() },
            &create,
            "sysctl -w kernel.unprivileged_userns_clone=1",
        );
        let apparmor = Facts { apparmor_restricts: Some(1), ..modern() };
        names(&apparmor, &create, "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0");
        names(
            &apparmor,
            &refused(init::NAMESPACES, Errno::EPERM),
            "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
        );
        names(&apparmor, &refused(id_map::MAP, Errno::EACCES), "apparmor_restrict_unprivileged_userns=0");
        let none = Facts { max_user_namespaces: Some(0), ..modern() };
        names(&none, &refused(id_map::CREATE, Errno::ENOSPC), "sysctl -w user.max_user_namespaces=");
        names(&modern(), &refused(init::NAMESPACES, Errno::ENOSPC), "user.max_net_namespaces=");
        let docker = Facts { container: true, seccomp: true, ..modern() };
        names(&docker, &create, "--security-opt seccomp=unconfined");
        let proc = refused("mount /proc of n1", Errno::EPERM);
        names(&docker, &proc, "systempaths=unconfined");
        names(&modern(), &proc, "findmnt -R /proc");
        names(&Facts { seccomp: true, ..modern() }, &create, "RestrictNamespaces=no");
        names(&modern(), &create, "unshare --user");
        names(&modern(), &refused(id_map::CREATE, Errno::EINVAL), "CONFIG_USER_NS");
    }

    #[test]
    fn an_old_kernel_is_named() {
        let facts = Facts { kernel: Some((5, 4)), ..modern() };
        names(&facts, &refused("make the file system of n1", Errno::EINVAL), "5.12 or newer");
    }

    #[test]
    fn what_is_no_matter_of_permission_gets_no_advice() {
        let facts = Facts { unprivileged_userns_clone: Some(0), container: true, ..modern() };
        let refusal = refused("make a bridge", Errno::EEXIST);
        assert_eq!(facts.explain(&refusal), refusal.what);
        assert_eq!(facts.explain(&Refusal::new("start agent", "no such node")), "no such node");
    }

    #[test]
    fn releases_are_read() {
        assert_eq!(kernel("6.18.44-fc-v657\n"), Some((6, 18)));
        assert_eq!(kernel("5.15.0-1-amd64"), Some((5, 15)));
        assert_eq!(kernel("6.1"), Some((6, 1)));
        assert_eq!(kernel("unknown"), None);
    }
}
