#!/usr/bin/env python3
"""Makes docs/reference of the comments in include/plait. CONTRIBUTING.md has their form.

  reference.py                     writes the pages
  reference.py --check             says what the comments lack, which pages they would make
                                   otherwise, and which links of any document lead nowhere
  reference.py --lint [INCLUDE]    says what the comments lack alone

A page stands for a folder, a section for a header: the folder's README.md, then of each header its
opening comment, the declarations below `///` blocks, and the sentences it throws or asserts.
"""
import os
import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "reference"
LABELS = ("Equation", "Shapes", "State", "Errors", "Cost", "Source", "Test")
ITEM = re.compile(r"(%s): ?(.*)" % "|".join(LABELS))
HEADER = re.compile(r"(?<![\w/.<-])(?:\w+/)*\w+\.(?:hpp|cuh)\b")
LINK = re.compile(r"\]\(([^)\s]+)\)")

TOKEN = re.compile(
    r"""(?P<doc>///(?!/)[^\n]*)
      | (?P<comment>//[^\n]* | /\*.*?\*/)
      | (?P<directive>^[ \t]*\#(?:\\\n|[^\n])*)
      | (?P<raw>R"(?P<delimiter>[^(\s]*)\(.*?\)(?P=delimiter)")
      | (?P<string>"(?:\\.|[^"\\\n])*")
      | (?P<char>'(?:\\.|[^'\\\n])+')
      | (?P<word>[A-Za-z_]\w*)
      | (?P<number>\.?\d(?:'?[\w.])*)
      | (?P<space>\s+)
      | (?P<mark><=>|[=!<>+*/%&|^-]=|::|->|&&|\|\||.)""",
    re.X | re.M | re.S,
)


class Token:
    def __init__(self, match):
        self.kind, self.text = match.lastgroup, match.group()
        if self.kind == "delimiter":
            self.kind = "raw"
        self.start, self.end = match.span()


class Comment:
    """A block's text (Markdown) and its labelled items, each a list of lines."""

    def __init__(self, lines):
        self.text, self.items = [], []
        item = None
        for line in lines:
            label = ITEM.match(line)
            if label:
                item = [label[2]]
                self.items.append((label[1], item))
            elif item is not None and line.strip():
                item.append(line.strip())
            else:
                item = None
                self.text.append(line)
        while self.text and not self.text[-1].strip():
            self.text.pop()

    def all(self, label):
        return [" ".join(lines) for name, lines in self.items if name == label]


class Declaration:
    def __init__(self, kind, name, signature, start, end, specialised=False):
        self.kind, self.name, self.signature = kind, name, signature
        self.start, self.end, self.specialised = start, end, specialised
        self.comment = None  # of the `///` block above
        self.note = ""  # of a trailing `///<`
        self.missing = False  # the primary template of an op, whose macro says what it is
        self.grouped = False  # below a documented declaration, without an empty line between
        self.members = []

    def documented(self):
        return self.comment is not None or self.grouped or self.note != ""


class Parser:
    """Finds the public declarations of a header; function bodies are passed over."""

    closing = {"(": ")", "[": "]", "{": "}"}

    def __init__(self, source):
        self.source = source
        self.tokens = [Token(m) for m in TOKEN.finditer(source)]
        self.tokens = [t for t in self.tokens if t.kind not in ("space", "comment")]
        self.at = 0
        self.found = []
        self.scope([], self.found)

    def skip(self):
        """Past the bracket that closes the one here."""
        pair, depth = self.tokens[self.at].text, 0
        while self.at < len(self.tokens):
            t = self.tokens[self.at]
            self.at += 1
            if t.kind == "mark":
                depth += (t.text == pair) - (t.text == self.closing[pair])
            if depth == 0:
                return

    def skip_angles(self):
        depth = 0
        while self.at < len(self.tokens):
            t = self.tokens[self.at]
            if t.text in ("(", "[", "{") and t.kind == "mark":
                self.skip()
                continue
            depth += (t.text == "<") - (t.text == ">")
            self.at += 1
            if depth == 0:
                return

    def scope(self, namespace, found, owner=None):
        hidden = "detail" in namespace or "" in namespace
        public = owner != "class"
        doc, doc_end, last = [], 0, None
        while self.at < len(self.tokens):
            t = self.tokens[self.at]
            if t.text == "}":
                self.at += 1
                return
            if t.kind == "doc":
                self.at += 1
                if t.text.startswith("///<"):
                    if last is not None:
                        last.note = (last.note + " " + t.text[4:].strip()).strip()
                    continue
                if re.search(r"\n\s*\n", self.source[doc_end : t.start]):
                    doc = []
                doc.append(t.text[3:].removeprefix(" ").rstrip())
                doc_end = t.end
                continue
            if t.text in ("public", "private", "protected") and self.tokens[self.at + 1].text == ":":
                public = t.text == "public"
                self.at += 2
                doc, last = [], None
                continue
            declaration = self.macro() if t.kind == "directive" else self.declaration(namespace, found)
            if declaration is None:
                if t.kind != "directive":
                    doc, last = [], None
                continue
            if doc:
                declaration.comment = Comment(doc)
            elif last is not None and last.documented() and last.note == "":
                declaration.grouped = "\n\n" not in self.source[last.end : declaration.start]
            doc, last = [], declaration
            if public and not hidden:
                found.append(declaration)

    def macro(self):
        t = self.tokens[self.at]
        self.at += 1
        head = re.match(r"\s*#\s*define (\w+)(\([^)]*\))?", t.text)
        if not head or head[1].endswith("_"):
            return None
        return Declaration("macro", head[1], head[0].strip(), t.start, t.end)

    def declaration(self, namespace, found):
        """One declaration; None for what is not listed. A namespace's are added to `found`."""
        begin = self.at
        bare, body = [], None  # tokens outside of brackets; where the body or initialiser begins
        members, kind = [], None
        previous = before_bracket = None
        while self.at < len(self.tokens):
            t = self.tokens[self.at]
            texts = [b.text for b in bare]
            if t.kind in ("doc", "directive"):
                if not bare and t.kind == "directive":
                    break
                if bare and re.fullmatch(r"[A-Z][A-Z_0-9]+", bare[-1].text) and len(bare) == 1:
                    break  # a macro alone on its line, such as one that opens a namespace
                self.at += 1
                continue
            if t.text == ";":
                self.at += 1
                break
            if t.text == "}":
                break
            if len(bare) == 1 and re.fullmatch(r"PLAIT_NAMESPACE_\w+", texts[0]):
                return None
            if t.text == "<" and previous is not None and previous.text == "template":
                bare.append(t)
                self.skip_angles()
                previous = self.tokens[self.at - 1]
                continue
            if t.text in ("(", "["):
                before_bracket = previous
                bare.append(t)
                self.skip()
                previous = self.tokens[self.at - 1]
                continue
            if t.text != "{":
                if t.text == "=" and body is None and "operator" != (previous and previous.text):
                    body = t
                if t.text == ":" and body is None and "(" in texts:
                    body = t
                bare.append(t)
                previous = t
                self.at += 1
                continue
            # A brace: of a namespace, a class, an expression, an initialiser or a body.
            words = [b.text for b in bare if b.kind == "word"]
            if words[:1] == ["namespace"] or words[:2] == ["inline", "namespace"]:
                self.at += 1
                names = [w for w in words if w not in ("namespace", "inline", "PLAIT_ABI")]
                self.scope(namespace + (names or ([] if "PLAIT_ABI" in words else [""])), found)
                return None
            if words[:1] == ["extern"]:
                self.at += 1
                self.scope(namespace, found)
                return None
            wanted = previous is not None and previous.text == "requires"
            called = previous is not None and previous.text == ")" and before_bracket is not None
            if wanted or (called and before_bracket.text == "requires"):
                self.skip()
                previous = self.tokens[self.at - 1]
                continue
            classes = [w for w in words if w in ("class", "struct", "union", "enum")]
            if classes and kind is None and body is None and not self.has_parameters(bare):
                kind, body = classes[0], t
                if kind == "enum":
                    self.skip()
                else:
                    self.at += 1
                    self.scope(namespace, members, kind)
                previous = self.tokens[self.at - 1]
                continue
            initialises = body is not None and body.text == "="
            member = body is not None and body.text == ":" and previous.kind == "word"
            member = member or (body is not None and body.text == ":" and previous.text == ">")
            if initialises or member or "(" not in texts:
                body = body or t
                self.skip()
                previous = self.tokens[self.at - 1]
                continue
            body = t if body is None else body
            self.skip()
            if self.at < len(self.tokens) and self.tokens[self.at].text == ";":
                self.at += 1
            break
        if self.at == begin:
            self.at += 1
            return None
        return self.listed(begin, bare, body, kind, members)

    def has_parameters(self, bare):
        """Whether a head that names a class is a function's."""
        keyword = next(i for i, b in enumerate(bare) if b.text in ("class", "struct", "union", "enum"))
        opens = [i for i, b in enumerate(bare) if b.text == "(" and bare[i - 1].text not in ("alignas", "requires")]
        return any(i > keyword for i in opens)

    def listed(self, begin, bare, body, kind, members):
        texts = [b.text for b in bare]
        if not texts or any(w in texts[:3] for w in ("static_assert", "friend", "typedef", "~")):
            return None
        if "friend" in texts or "~" in texts or texts[0] == "extern" or "namespace" in texts:
            return None
        if re.fullmatch(r"[A-Z][A-Z_0-9]+", texts[0]) and texts[1:2] in ([], ["("]):
            return None  # a macro's use
        first, end = self.tokens[begin], self.tokens[self.at - 1].end
        cut = body.start if body is not None else self.tokens[self.at - 1].start
        whole = self.source[first.start : end].rstrip(";")
        signature = self.source[first.start : cut].rstrip()
        specialised = False
        if kind in ("class", "struct", "union"):
            at = [i for i, x in enumerate(texts) if x in ("class", "struct", "union")][0]
            name = next(b for b in bare[at + 1 :] if b.kind == "word" and b.text != "alignas")
            at = bare.index(name)
            specialised = texts[at + 1 : at + 2] == ["<"]
            name = name.text
        elif kind == "enum":
            name = next(b.text for b in bare if b.kind == "word" and b.text not in ("enum", "class", "struct"))
            signature = re.sub(r"\s*//[^\n]*", "", whole)
        elif "using" in texts:
            if "=" not in texts:
                return None
            kind, name = "alias", texts[texts.index("using") + 1]
            signature = whole
        elif "concept" in texts:
            kind, name = "concept", texts[texts.index("concept") + 1]
            signature = whole
        elif "operator" in texts:
            sign = texts[texts.index("operator") + 1]
            kind, name = "function", "operator" + {"(": "()", "[": "[]"}.get(sign, sign)
        else:
            reserved = ("requires", "alignas", "decltype", "noexcept", "explicit", "template")
            head = texts if body is None or body.text not in texts else texts[: bare.index(body)] if body in bare else texts
            calls = [i for i, x in enumerate(head) if x == "(" and i > 0 and bare[i - 1].kind == "word"]
            calls = [i for i in calls if texts[i - 1] not in reserved]
            if calls:
                kind, name = "function", texts[calls[0] - 1]
                if texts[calls[0] - 2 : calls[0] - 1] == ["::"]:
                    return None  # a member's definition, declared in its class
            elif set(texts) & {"class", "struct", "enum"} and kind is None:
                return None  # declared, defined elsewhere
            else:
                kind = "value"
                head = [b for b in bare if b.start < cut]
                while head and head[-1].text == "[":
                    head.pop()
                if head and head[-1].text == ">":
                    specialised = True
                    depth = 0
                    while head:
                        depth += (head[-1].text == ">") - (head[-1].text == "<")
                        head.pop()
                        if depth == 0:
                            break
                if not head or head[-1].kind != "word":
                    return None
                name = head[-1].text
                if "\n" not in whole and len(whole) <= 100:
                    signature = whole
        if kind == "function" and body is not None and body.text == "=":
            if re.search(r"=\s*(delete|default)\s*$", whole):
                return None
        declaration = Declaration(kind, name, dedent(signature, self.source, first.start), first.start, end, specialised)
        declaration.members = members
        declaration.missing = "PLAIT_OP_MISSING" in whole
        return declaration


def dedent(text, source, start):
    """The lines of `text` moved left by the column at which it starts."""
    column = start - (source.rfind("\n", 0, start) + 1)
    text = re.sub(r"\s*//[^\n]*", "", text)
    lines = text.split("\n")
    return "\n".join([lines[0]] + [l[column:] if l[:column].isspace() else l for l in lines[1:]])


def text_of(string):
    """The characters of a literal's source."""
    return re.sub(r"\\(.)", lambda m: {"n": " "}.get(m[1], m[1]), string[1:-1])


class Header:
    def __init__(self, include, path):
        self.path = path.relative_to(include).as_posix()
        self.folder, _, self.name = self.path.rpartition("/")
        source = path.read_text()
        opening = re.match(r"(//(?!/)[^\n]*\n)*", source)[0].splitlines()
        self.comment = Comment([l[2:].removeprefix(" ").rstrip() for l in opening])
        parser = Parser(source)
        self.declarations = parser.found
        self.tokens = parser.tokens
        self.uses = {t.text for t in self.tokens if t.kind == "word"}
        strings = [t for t in self.tokens if t.kind == "string" and t.text[:1] == '"']
        self.literals = "\n".join(text_of(t.text) for t in strings)
        for t in self.tokens:
            if t.kind == "directive" and not re.match(r"\s*#\s*include", t.text):
                self.literals += "\n" + "\n".join(text_of(s) for s in re.findall(r'"(?:\\.|[^"\\\n])*"', t.text))
        self.sentences = self.find_sentences()

    def find_sentences(self):
        """What `throw error(...)` and its kind say, and what begins with "plait:"; … for what varies."""
        found, used = [], set()

        def say(parts):
            text = re.sub(r"\s*…(\s*…)*", lambda m: " …" if m[0][0].isspace() else "…", "".join(parts))
            text = text.replace("{}", "…").strip()
            if len(text.replace("…", "").strip()) > 9 and " " in text and text not in found:
                found.append(text)

        tokens = self.tokens
        for i, t in enumerate(tokens):
            thrown = t.text == "error" and tokens[i - 1].text == "throw" or t.text in ("fail", "refuse")
            if t.kind != "word" or not (thrown or t.text in ("static_assert", "PLAIT_RULE")):
                continue
            if tokens[i + 1].text != "(":
                continue
            parts, depth, j = [], 0, i + 1
            while j < len(tokens):
                u = tokens[j]
                if u.kind == "mark":
                    depth += (u.text == "(") - (u.text == ")")
                if depth == 0:
                    break
                if depth == 1 and u.text in (",", "?", ":") and thrown:
                    parts.append("\n")  # another argument, or the other sentence
                elif u.text == ":" and parts[-1:] not in ([], ["…"]):
                    parts.append("|")
                if u.kind == "string":
                    used.add(j)
                    if parts[-1:] == ["…"] and tokens[j - 1].kind == "string":
                        parts.pop()
                    parts.append(text_of(u.text))
                elif u.kind in ("word", "number") and parts[-1:] != ["…"]:
                    parts.append("…")
                j += 1
            literal = [p for p in parts if p not in ("…", "\n", "|")]
            if not thrown:  # a condition, then a sentence
                while parts and not parts[0].startswith("plait:"):
                    parts.pop(0)
            elif not literal or max(map(len, literal)) < 10 and "".join(literal).count(" ") < 2:
                continue
            for sentence in "".join(parts).split("\n"):
                say([sentence])
        for i, t in enumerate(tokens):
            if t.kind == "string" and i not in used and t.text.startswith('"plait: '):
                say([text_of(t.text)])
            if t.kind == "directive":
                strings = re.findall(r'"(?:\\.|[^"\\\n])*"', t.text)
                if strings and strings[0].startswith('"plait: '):
                    say("…".join(text_of(s) for s in strings))
        return found

    def comments(self):
        yield self.comment
        for d in every(self.declarations):
            if d.comment is not None:
                yield d.comment

    def all(self, label):
        return [item for c in self.comments() for item in c.all(label)]

    def quoted(self):
        """Sentences that the Errors items list, each as - `SENTENCE`: what there is to say of it."""
        return [s for item in self.all("Errors") for s in re.findall(r"(?:^| )- `([^`]+)`", item)]


def every(declarations):
    for d in declarations:
        yield d
        yield from every(d.members)


# --- pages ---


def page_of(folder):
    return (folder.replace("/", "_") or "README") + ".md"


def slug(heading):
    """The anchor that GitHub and MkDocs give a heading."""
    return re.sub(r"[^\w\- ]", "", re.sub(r"`|\]\([^)]*\)", "", heading).strip().lower()).replace(" ", "-")


class Reference:
    def __init__(self, include):
        self.include = include
        paths = sorted(p for p in include.rglob("*") if p.suffix in (".hpp", ".cuh"))
        self.headers = [Header(include, p) for p in paths]
        self.paths = {h.path for h in self.headers}
        self.folders = sorted({h.folder for h in self.headers})

    def resolve(self, name, folder):
        """The header that a comment in `folder` calls `name`, or None."""
        name = name.removeprefix("include/").removeprefix("plait/")
        for path in (f"{folder}/{name}".lstrip("/"), name):
            if path in self.paths:
                return path
        ends = [p for p in self.paths if p.endswith("/" + name)]
        return ends[0] if len(ends) == 1 else None

    def target(self, path, folder):
        """A link to a header's section from a folder's page."""
        its, _, name = path.rpartition("/")
        return ("" if its == folder else page_of(its)) + "#" + slug(name)

    def markdown(self, lines, folder):
        """A comment's lines as Markdown: names of headers and documents are links, signs are text."""
        result, fence, indented = [], False, False
        run = []  # the lines of a paragraph, in which a code span may go on

        def end_run():
            if run:
                text = self.inline("\n".join(result[i] for i in run), folder)
                for i, line in zip(run, text.split("\n")):
                    result[i] = line
                run.clear()

        for line in lines:
            if not line.strip() or line.startswith("```"):
                end_run()
            if line.startswith("```"):
                fence = not fence
            if fence or line.startswith("```"):
                result.append(line)
                continue
            in_list = bool(result) and re.match(r"\s*([-*]|\d+\.) |\s+\S", result[-1]) and not indented
            if line.startswith("  ") and (indented or not in_list):
                if not indented:
                    result += ["", "```text"]
                indented = True
                result.append(line)
                continue
            if indented:
                result += ["```", ""]
                indented = False
            if re.match(r"[-*] |\d+\. |\|", line) and result and re.match(r"[^-*|\d\s]", result[-1]):
                result.append("")  # a list or a table stands by itself
            run.append(len(result))
            result.append(line)
        if indented:
            result.append("```")
        end_run()
        return result

    def inline(self, line, folder):
        pieces = line.split("`")
        for i in range(0, len(pieces), 2):
            text = pieces[i].replace("<", "&lt;")
            text = re.sub(r"(?<!^)\*", r"\\*", text, flags=re.M)

            def link(match):
                path = self.resolve(match[0], folder)
                return f"[{match[0]}]({self.target(path, folder)})" if path else match[0]

            text = HEADER.sub(link, text)
            text = re.sub(r"(?<![\w/(])docs/([\w/-]+\.md)", r"[docs/\1](../\1)", text)
            pieces[i] = text
        return "`".join(pieces)

    def items(self, comment, folder):
        result = []
        for label, lines in comment.items:
            lines = self.inline("\n".join(lines), folder).split("\n")
            if label == "Test":
                lines = [re.sub(r"\btests/[\w./-]+\.\w+", r"`\g<0>`", l.replace("`", "")) for l in lines]
            first = lines[0]
            result += [f"- **{label}**: {first}" if first else f"- **{label}**:"]
            result += ["    " + l for l in lines[1:]]
        return result

    def block(self, comment, folder):
        text, items = self.markdown(comment.text, folder), self.items(comment, folder)
        return text + ([""] if text and items else []) + items

    def synopsis(self, d, indent=""):
        note = f"  // {d.note}" if d.note else ""
        lines = [indent + l for l in d.signature.split("\n")]
        if d.kind not in ("class", "struct", "union"):
            ending = "" if d.kind == "macro" else ";"
            return lines[:-1] + [lines[-1] + ending + note]
        if not d.members:
            return lines[:-1] + [lines[-1] + ";" + note]
        members = [l for m in d.members for l in self.synopsis(m, indent + "  ")]
        return lines[:-1] + [lines[-1] + " {"] + members + [indent + "};" + note]

    def section(self, header):
        yield from ["", f"## {header.name}", "", f"`#include <plait/{header.path}>`", ""]
        yield from self.block(header.comment, header.folder)
        shown = [d for d in header.declarations if d.documented()]
        groups = []
        for d in shown:
            if d.grouped and groups:
                groups[-1].append(d)
            else:
                groups.append([d])
        for group in groups:
            yield from ["", "```cpp signature"]
            for d in group:
                yield from self.synopsis(d)
            yield "```"
            if group[0].comment is not None:
                yield from ["", *self.block(group[0].comment, header.folder)]
            members = [m for d in group for m in self.members(d, header.folder)]
            if members:
                yield from ["", "Members:", "", *members]
        quoted = "\n".join(header.quoted())
        rest = [s for s in header.sentences if max(s.split("…"), key=len).strip() not in quoted]
        if rest:
            yield from ["", "Sentences that are thrown or, beginning with \"plait:\", asserted:", ""]
            yield from [f"- `{s}`" for s in rest]

    def members(self, d, folder, prefix=""):
        for m in d.members:
            if m.comment is not None:
                name = f"- `{prefix}{m.name}`: "
                lines = self.inline(" ".join(m.comment.text), folder)
                extra = [self.inline(" ".join([f"{label}:", *lines]), folder) for label, lines in m.comment.items]
                yield name + " ".join([lines] + extra)
            yield from self.members(m, folder, f"{prefix}{m.name}::")

    def introduction(self, folder):
        readme = self.include / folder / "README.md"
        if not readme.exists():
            return [f"# {folder}/"]

        def rewrite(match):
            target, _, anchor = match[1].partition("#")
            if re.match(r"\w+:", target) or not target:
                return match[0]
            path = Path(os.path.normpath(readme.parent / target))
            if path.is_relative_to(self.include):
                inside = path.relative_to(self.include).as_posix()
                if inside in self.paths:
                    return f"]({self.target(inside, folder)})"
                if path.name == "README.md":
                    inside = inside.rpartition("/")[0]
                    return f"]({page_of(inside)}{'#' + anchor if anchor else ''})"
            return f"]({os.path.relpath(path, PAGES)}{'#' + anchor if anchor else ''})"

        return LINK.sub(rewrite, readme.read_text()).rstrip("\n").split("\n")

    def index(self):
        """The table of pages, in README.md."""
        yield from ["", "| page | holds |", "|---|---|"]
        for folder in self.folders:
            if folder:
                first = " ".join(self.introduction(folder)[2:]).split(". ")[0].rstrip(".")
                first = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", first)  # links of that page
                yield f"| [{folder}/]({page_of(folder)}) | {first.split(' | ')[0].strip()} |"

    def pages(self):
        for folder in self.folders:
            lines = self.introduction(folder)
            if not folder:
                at = next((i for i, line in enumerate(lines) if line.startswith("## ")), len(lines))
                lines[at:at] = [*self.index(), ""]
            for header in self.headers:
                if header.folder == folder:
                    lines += self.section(header)
            text = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)) + "\n"
            yield page_of(folder), text


# --- checks ---


def wrong_links():
    """Links of the documents to files and headings that are not there."""
    anchors = {}

    def headings(path):
        if path not in anchors:
            text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
            anchors[path] = {slug(h) for h in re.findall(r"^#+ (.*)$", text, re.M)}
        return anchors[path]

    documents = [ROOT / "README.md"]
    for folder in ("docs", "benchmarks", "examples", "include"):
        documents += sorted((ROOT / folder).rglob("*.md"))
    for document in documents:
        text = re.sub(r"^```.*?^```", "", document.read_text(), flags=re.M | re.S)
        text = re.sub(r"`[^`\n]*`", "", text)
        where = document.relative_to(ROOT)
        for target in sorted(set(LINK.findall(text))):
            file, _, anchor = target.partition("#")
            if re.match(r"\w+:", file):
                continue
            path = (document.parent / file) if file else document
            if not path.exists():
                yield f"{where} links to {file}, which does not exist"
            elif anchor and path.suffix == ".md" and anchor not in headings(path.resolve()):
                yield f"{where} links to {target}, where no such heading is"


def lint(reference, root):
    """What the comments lack, as sentences."""
    for folder in reference.folders:
        if not (reference.include / folder / "README.md").exists() and folder:
            yield f"{folder}/ has no README.md, with which its page begins"
    for h in reference.headers:

        def say(sentence):
            return f"{h.path}: {sentence}"

        if not h.comment.text:
            yield say("does not begin with a sentence about the file")
        comments = list(h.comments())
        documented = {d.name for d in h.declarations if d.documented() or d.missing}
        for name in sorted({d.name for d in h.declarations if not d.specialised} - documented):
            yield say(f"`{name}` has no /// block")
        for c in comments:
            for label, lines in c.items:
                if not any(l.strip() for l in lines):
                    yield say(f"the item {label} is empty")
            for line in c.text:
                stray = re.match(r"([A-Z][a-z]+):( |$)", line)
                if stray and stray[1] + "s" in LABELS or stray and stray[1].removesuffix("s") in LABELS:
                    yield say(f"the item {stray[1]} is not one of {', '.join(LABELS)}")
            for line in c.text + [l for _, lines in c.items for l in lines]:
                for name in HEADER.findall(line):
                    if reference.resolve(name, h.folder) is None:
                        yield say(f"names {name}, which is not a header")
        tests = h.all("Test")
        if not tests:
            yield say("has no Test")
        for file in re.findall(r"\btests/[\w./-]+\.\w+", " ".join(tests)):
            if not (root / file).exists():
                yield say(f"the test {file} does not exist")
        for wanted in wants(h):
            if not h.all(wanted):
                yield say(f"has no {wanted}")
        for sentence in h.quoted():
            for part in sentence.split("…"):
                if part.strip() not in "\n".join([h.literals, *h.sentences]):
                    yield say(f'does not say "{part.strip()}", which its Errors quote')


def wants(header):
    """The items that a header of its role has."""
    names = {d.name for d in header.declarations}
    if "PLAIT_OP_MISSING" in header.uses:
        return ("Equation", "Shapes", "Cost", "Source")
    if header.folder == "layers" and any("forward" in {m.name for m in d.members} for d in header.declarations):
        return ("Equation", "Shapes", "Cost", "Source")
    if header.folder == "policy" and "describe" in names and "none" not in names:
        return ("Equation", "Shapes", "Source")
    return ()


def main(arguments):
    include = ROOT / "include" / "plait"
    if arguments[:1] == ["--lint"]:
        include = Path(arguments[1]).resolve() if arguments[1:] else include
        reference = Reference(include)
        problems = list(lint(reference, ROOT))
    else:
        reference = Reference(include)
        pages, problems = dict(reference.pages()), []
        if arguments == []:
            for page, text in pages.items():
                (PAGES / page).write_text(text)
            for old in PAGES.glob("*.md"):
                if old.name not in pages:
                    old.unlink()
        elif arguments == ["--check"]:
            for page in sorted(set(pages) | {p.name for p in PAGES.glob("*.md")}):
                kept = (PAGES / page).read_text() if (PAGES / page).exists() else None
                if kept != pages.get(page):
                    problems.append(f"docs/reference/{page} is not what the comments give: python3 docs/reference.py")
            problems += [*wrong_links(), *lint(reference, ROOT)]
        else:
            sys.exit(__doc__)
    for problem in problems:
        print(problem)
    print(f"{len(reference.headers)} headers, {len(problems)} problems")
    return 1 if problems else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
