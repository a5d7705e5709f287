"""The picture of demo 00: which attack succeeds against which app."""

from attacks import NOTHING_THERE, OWN, SITES, Attack
from stage import BAD, plt, show_figure

WORKBOOK = SITES[-1].name
OTHERS = [site.name for site in SITES if site is not OWN and site.name != WORKBOOK]
Results = dict[Attack, dict[str, str | None]]
LOOKS = {  # colour, hatch, ink
    "succeeds": (BAD, "///", "white"),
    "succeeds *": (BAD, "///", "white"),
    "refused": ("#CFE3F1", "", "#303030"),
    "-": ("#F2F2F2", "", "#303030"),
}


def successes(results: Results, site: str) -> dict[str, str]:
    """Return which attacks succeed against a site, and what mallory has then."""
    return {
        f"{each.lesson}  {each.title}": row[site]
        for each, row in results.items()
        if row[site] not in (None, NOTHING_THERE)
    }


def range_of(results: Results) -> tuple[int, int]:
    """Return how many attacks succeed at least and at most against one of the other tutorials."""
    counts = [len(successes(results, name)) for name in OTHERS]
    return min(counts), max(counts)


def draw(results: Results) -> None:
    """Draw a row for each attack, a column for each app."""
    figure, ax = plt.subplots(figsize=(11.5, 6.3))
    for y, (attack, row) in enumerate(results.items()):
        for x, site in enumerate(SITES):
            word = "refused" if row[site.name] is None else "succeeds"
            if row[site.name] == NOTHING_THERE:
                word = "-"
            elif word == "succeeds" and attack.test in site.warns_of:
                word = "succeeds *"
            colour, hatch, ink = LOOKS[word]
            box = {"facecolor": colour, "edgecolor": "white", "linewidth": 2}
            ax.add_patch(plt.Rectangle((x, y), 1, 1, hatch=hatch, **box))
            under = {"facecolor": colour, "edgecolor": "none", "pad": 2}
            ax.text(x + 0.5, y + 0.5, word, ha="center", va="center", color=ink, bbox=under)
    ax.set(xlim=(0, len(SITES)), ylim=(len(results), 0))
    names = [site.name.replace(" ", "\n", 1) for site in SITES]
    ax.set_xticks([x + 0.5 for x in range(len(SITES))], names)
    titles = [f"{each.title}  {each.lesson}" for each in results]
    ax.set_yticks([y + 0.5 for y in range(len(results))], titles)
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    own, (least, most) = len(successes(results, OWN.name)), range_of(results)
    title = f"{own} of {len(results)} attacks succeed against FastAPI's own tutorial, "
    ax.set_title(f"{title}{least} to {most} against each of four others", x=0.3, pad=14)
    notes = (
        "- : nothing to attack, because the app has no such thing or its page is open to all\n"
        "* : with the key that is printed there; a comment beside it says how to draw one"
    )
    ax.text(-2.9, len(results) + 0.25, notes, va="top", fontsize=13)
    show_figure(figure)
