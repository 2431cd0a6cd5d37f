"""The explorer: a run's networks, samples and answers as one HTML file that is opened offline, by a double click.

Python gathers what the page holds and packs it; `page/` has the page's own sources, plain JavaScript, styles and a
template, which `page` joins. What a view shows is computed in the page.
"""
