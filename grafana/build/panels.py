"""Builds panels in one style with grafana-foundation-sdk: a query, a unit, a description, thresholds, and a link to the
runbook."""

from grafana_foundation_sdk.builders import common, dashboard, heatmap, prometheus, stat, timeseries
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models import dashboard as models
from grafana_foundation_sdk.models import heatmap as heat
from grafana_foundation_sdk.models import prometheus as queries
from grafana_foundation_sdk.models.units import (  # noqa: F401 (the dashboards' vocabulary)
    BytesIEC,
    BytesPerSecondIEC,
    DateTimeFromNow,
    NoUnit,
    PercentUnit,
    Seconds,
    Short,
)

RUNBOOK = "https://github.com/needledrop/needledrop/blob/main/docs/runbook.md"
SOURCE = models.DataSourceRef(type_val="prometheus", uid="${datasource}")

# The label filter that every query contains.
OURS = 'job=~"$job", instance=~"$instance"'

# The label filter of metrics that are counted by feed. The feed without a name has no such label, and `.*` matches it.
OF_FEED = f'{OURS}, feed=~"$feed"'

# The variable for this filter.
FEED = ("feed", 'label_values(needledrop_inbox_listed{job=~"$job"}, feed)')


def _query(expr, legend, instant, format_val=queries.PromQueryFormat.TIME_SERIES):
    query = prometheus.Dataquery().expr(expr).legend_format(legend).format(format_val).datasource(SOURCE)
    return query.instant() if instant else query.range()


def _thresholds(steps):
    """Thresholds from pairs of (from, colour). Values below the first are green."""
    steps = [models.Threshold(value=None, color="green")] + [
        models.Threshold(value=at, color=colour) for at, colour in steps
    ]
    return dashboard.ThresholdsConfig().mode(models.ThresholdsMode.ABSOLUTE).steps(steps)


def _common(panel, title, description, unit, alert):
    panel = panel.title(title).description(description).unit(unit).datasource(SOURCE)
    if alert:
        link = dashboard.DashboardLink(f"Runbook: {alert}").type(models.DashboardLinkType.LINK)
        panel = panel.links([link.url(f"{RUNBOOK}#{alert.lower()}").target_blank(True)])
    return panel


def number(title, expr, unit, description, steps=(), alert=None, words=None, span=4):
    """The current value. `words` replaces values by names: {0: ("no", "red")}."""
    panel = _common(stat.Panel(), title, description, unit, alert).height(4).span(span)
    panel = panel.with_target(_query(expr, "", instant=True)).thresholds(_thresholds(steps))
    panel = panel.color_mode(looks.BigValueColorMode.VALUE).graph_mode(looks.BigValueGraphMode.NONE)
    panel = panel.reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
    if words:
        options = {
            str(value): models.ValueMappingResult(text=text, color=colour, index=at)
            for at, (value, (text, colour)) in enumerate(words.items())
        }
        panel = panel.mappings([models.ValueMap(options=options)])
    return panel


def lines(title, queries_, unit, description, steps=(), alert=None, stacked=False, bars=False, log=False, span=12):
    """Values over time. `queries_` is a list of (expression, legend)."""
    panel = _common(timeseries.Panel(), title, description, unit, alert).height(8).span(span).min(0)
    for expr, legend in queries_:
        panel = panel.with_target(_query(expr, legend, instant=False))
    panel = panel.line_width(1).fill_opacity(60 if bars else 12).show_points(looks.VisibilityMode.NEVER)
    panel = panel.thresholds(_thresholds(steps))
    if steps:
        panel = panel.thresholds_style(
            common.GraphThresholdsStyleConfig().mode(looks.GraphThresholdsStyleMode.DASHED)
        )
    if bars:
        panel = panel.draw_style(looks.GraphDrawStyle.BARS)
    if stacked:
        panel = panel.stacking(common.StackingConfig().mode(looks.StackingMode.NORMAL))
    if log:
        scale = common.ScaleDistributionConfig().type(looks.ScaleDistribution.LOG).log(10)
        panel = panel.scale_distribution(scale)
    legend = common.VizLegendOptions().display_mode(looks.LegendDisplayMode.TABLE).show_legend(True)
    legend = legend.placement(looks.LegendPlacement.BOTTOM).calcs(["lastNotNull", "max"])
    tooltip = common.VizTooltipOptions().mode(looks.TooltipDisplayMode.MULTI).sort(looks.SortOrder.DESCENDING)
    return panel.legend(legend).tooltip(tooltip)


def heat_map(title, expr, unit, description, alert=None, span=12):
    """A histogram over time: the count of each bucket."""
    panel = _common(heatmap.Panel(), title, description, unit, alert).height(8).span(span)
    panel = panel.with_target(_query(expr, "{{le}}", False, queries.PromQueryFormat.HEATMAP))
    colours = heatmap.HeatmapColorOptions().mode(heat.HeatmapColorMode.SCHEME).scheme("Oranges").steps(64)
    panel = panel.calculate(False).color(colours).y_axis(heatmap.YAxisConfig().unit(unit))
    return panel.thresholds(_thresholds(())).show_y_histogram()


def board(uid, title, description, since, refresh, variables=()):
    """An empty dashboard with the common variables and links."""
    new = dashboard.Dashboard(title).uid(f"needledrop-{uid}").description(description).tags(["needledrop"])
    new = new.time(f"now-{since}", "now").refresh(refresh).timezone("browser")
    new = new.tooltip(models.DashboardCursorSync.CROSSHAIR).readonly()
    source = dashboard.DatasourceVariable("datasource").label("Prometheus").type("prometheus")
    new = new.with_variable(source)
    for name, metric in [("job", "needledrop_build_info"), ("instance", 'needledrop_build_info{job=~"$job"}')]:
        new = new.with_variable(_variable(name, f"label_values({metric}, {name})"))
    for name, query in variables:
        new = new.with_variable(_variable(name, query))
    others = dashboard.DashboardLink("needledrop").type(models.DashboardLinkType.DASHBOARDS)
    new = new.link(others.tags(["needledrop"]).keep_time(True).include_vars(True))
    runbook = dashboard.DashboardLink("Runbook").type(models.DashboardLinkType.LINK).url(RUNBOOK)
    return new.link(runbook.target_blank(True))


def _variable(name, query):
    variable = dashboard.QueryVariable(name).label(name).query(query).datasource(SOURCE)
    everything_matches = ".*" if name == "feed" else ".+"
    variable = variable.refresh(models.VariableRefresh.ON_TIME_RANGE_CHANGED).sort(
        models.VariableSort.ALPHABETICAL_ASC
    )
    everything = models.VariableOption(text="All", value="$__all")
    return variable.multi(True).include_all(True).all_value(everything_matches).current(everything)


def row(title):
    return dashboard.Row(title)
