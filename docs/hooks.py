"""For mkdocs: links from the pages to other files of the repository. Pictures are taken along; other files
become their names.

A file that is not there stops a strict build.
"""

import re
from pathlib import Path

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File

ROOT = Path(__file__).resolve().parents[1]
LINK = re.compile(r'(!?)\[([^\]]*)\]\(\.\./([^)\s]+)\)')


def on_files(files, config):
    for page in list(files.documentation_pages()):
        for picture, _, path in LINK.findall(Path(page.abs_src_path).read_text(encoding='utf8')):
            if picture and files.get_file_from_path(f'repository/{path}') is None:
                files.append(File.generated(config, f'repository/{path}', abs_src_path=str(ROOT / path)))
    return files


def on_page_markdown(markdown, page, config, files):
    def replace(match):
        picture, text, path = match.groups()
        if not (ROOT / path.partition('#')[0]).exists():
            raise PluginError(f'{page.file.src_uri}: there is no {path} in the repository')
        return (
            f'![{text}](repository/{path})'
            if picture
            else f'{text.strip("`")} (`{path}`)'
            if text.strip('`') != path
            else f'`{path}`'
        )

    return LINK.sub(replace, markdown)
