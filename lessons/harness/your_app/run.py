"""All attacks on one app, in their order, each ending as a finding."""

from collections.abc import Callable

from lessons.harness.your_app.attacks import Attack, all_attacks
from lessons.harness.your_app.findings import Finding, NotTried, Status
from lessons.harness.your_app.site import Site


def run_all(
    site: Site, only: str = "", tell: Callable[[Finding], None] = lambda _: None
) -> list[Finding]:
    """Try each attack, and return what came of it."""
    findings = []
    for each in all_attacks():
        if only in each.name:
            findings.append(run(site, each))
            tell(findings[-1])
    return findings


def run(site: Site, attack: Attack) -> Finding:
    """Try one attack."""
    visit = site.visit()
    status: Status = "refused"
    level, why = attack.level, ""
    try:
        with visit.stack:
            success = attack.run(visit)
    except NotTried as reason:
        status, why = "not tried", str(reason)
    except Exception as error:  # one attack that fails must not lose the others
        said = " ".join(str(error).split())[:200]
        status, why = "not tried", f"the attack itself failed: {type(error).__name__}: {said}"
    else:
        if success is not None:
            status, why, level = "open", success.evidence, success.level or attack.level
            if policy := accepted(site).get(attack.name):
                status, why = "accepted", f"{policy} ({why})"
        elif visit.limited and not attack.storms:
            status, why = (
                "not tried",
                f"a limiter answered in the app's place: 429 to {visit.limited}",
            )
    return Finding(
        name=attack.name,
        title=attack.title,
        lesson=attack.lesson,
        authority=attack.authority,
        status=status,
        level=level,
        why=why,
        transcript=visit.transcript.lines if status == "open" else [],
    )


def accepted(site: Site) -> dict[str, str]:
    """Return the attacks that may succeed, and why."""
    policy = site.description.policy
    by_policy = {"register-tells-names": policy.registration_tells_names}
    return {name: reason for name, reason in (by_policy | policy.accepted).items() if reason}
