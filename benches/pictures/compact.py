"""Makes an SVG of matplotlib short enough to read in a diff: one element on each line, and nothing that cannot be seen."""

import re
import xml.etree.ElementTree as ET

SVG = "http://www.w3.org/2000/svg"
G, PATH, TEXT, STYLE, METADATA = (f"{{{SVG}}}{name}" for name in ["g", "path", "text", "style", "metadata"])
NUMBER = r"-?\d+(?:\.\d+)?"
POINT = re.compile(rf"([ML]) ({NUMBER}) ({NUMBER})|z")

ET.register_namespace("", SVG)
ET.register_namespace("xlink", "http://www.w3.org/1999/xlink")


def compact(svg):
    root = ET.fromstring(svg)
    flatten(root, used=set(re.findall(r"#(\w+)", svg)))
    for element in root.iter():
        values = {name: short(name, " ".join(value.split())) for name, value in element.attrib.items()}
        element.attrib = {name: value for name, value in values.items() if value}
    merge(root)
    ET.indent(root, space=" ")
    return ET.tostring(root, encoding="unicode") + "\n"


def flatten(element, used):
    """Removes metadata, styles, ids that nothing uses, and groups without attributes or content."""
    kept = []
    for child in element:
        flatten(child, used)
        if child.get("id") not in used:
            child.attrib.pop("id", None)
        if child.tag == G and not child.attrib:
            kept.extend(child)
        elif child.tag not in [METADATA, STYLE] and (child.attrib or len(child)):
            kept.append(child)
    element[:] = kept


def merge(element):
    """Joins lines of the same style, such as those of a grid. Only text may be between them."""
    kept, last = [], None
    for child in element:
        merge(child)
        style = {**child.attrib, "d": ""}
        if child.tag == PATH and last is not None and style == {**last.attrib, "d": ""} and "fill: none" in style["style"]:
            last.set("d", f"{last.get('d')} {child.get('d')}")
            continue
        kept.append(child)
        if child.tag != TEXT:
            last = child if child.tag == PATH else None
    element[:] = kept


def short(name, value):
    """Shortens an attribute. The viewer chooses the font: every list of fonts ends with a generic family."""
    if name == "style":
        return re.sub(r"'[^']*', ", "", value)
    value = re.sub(NUMBER, rounded, re.sub(rf"rotate\(-?0 {NUMBER} {NUMBER}\)", "", value))
    return path(value) if name == "d" else value


def rounded(number):
    """Rounds to a tenth of a point, which no eye can see."""
    return f"{float(number[0]):.1f}".removesuffix(".0") if re.search(r"\.\d\d", number[0]) else number[0]


def path(text):
    """Leaves out points inside straight lines. Horizontal and vertical lines need only one number."""
    points = []
    for point in POINT.finditer(text):
        new = (point[1] or "z", float(point[2] or 0), float(point[3] or 0))
        if new[0] == "L" and len(points) > 1 and points[-1][0] == "L" and is_between(points[-2], points[-1], new):
            points.pop()
        points.append(new)
    return "".join(command(before, point) for before, point in zip([None, *points], points))


def is_between(one, two, three):
    (_, ax, ay), (_, bx, by), (_, cx, cy) = one, two, three
    is_straight = abs((bx - ax) * (cy - ay) - (by - ay) * (cx - ax)) < 1e-6
    return is_straight and min(ax, cx) <= bx <= max(ax, cx) and min(ay, cy) <= by <= max(ay, cy)


def command(before, point):
    kind, x, y = point
    if kind == "z":
        return "z"
    if kind == "L" and before[2] == y:
        return f"H{x:g}"
    return f"V{y:g}" if kind == "L" and before[1] == x else f"{kind}{x:g} {y:g}"
