#!/usr/bin/env python3
"""docs/reference.py: declarations and comments of a header, and what its comments lack."""
import sys
import tempfile
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
sys.dont_write_bytecode = True
sys.path.insert(0, str(ROOT / "docs"))
import reference  # noqa: E402

GOOD = '''// One op.
#pragma once

PLAIT_NAMESPACE_BEGIN
namespace ops {

template <class Exec>
struct twice_op {
  PLAIT_OP_MISSING(twice);
};

/// Doubles, in place.
/// Equation: x <- 2 x
/// Shapes: x [T, d]; see core/view.hpp
/// Errors: none else
///   - `twice: … rows; expected at most nine`: while a call is measured
/// Cost: T d operations
/// Source: none, it is elementary
/// Test: tests/checks/docs/reference_test.py
template <class Exec, int N = (3 > 2)>
  requires requires(Exec e) { e.run(); }
void twice(Exec& exec, matrix_view<float> x = {}) {
  if (x.rows() > 9)
    throw error("twice: " + std::to_string(x.rows()) + " rows; expected at most " + "nine");
  static_assert(sizeof(Exec) > 0, "plait: twice needs an execution policy");
}
void twice(int x);

/// A range.
struct range {
  explicit range(int n) : end_{n} {}
  /// Its length.
  int size() const { return end_; }
  int first = 0;  ///< where it begins

 private:
  int end_;
};

/// A number.
inline constexpr range whole{7};
/// Whether it is one.
template <class T>
concept ranged = requires(T t) {
  { t.size() };
};

namespace detail {
int hidden();
}

}  // namespace ops
PLAIT_NAMESPACE_END

/// Nothing.
#define PLAIT_NOTHING(x)
'''


class Reference(unittest.TestCase):
    def made(self, text, path="ops/twice.hpp"):
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        include = Path(folder.name) / "include" / "plait"
        view = "// Views.\n// Test: tests/checks/docs/reference_test.py\n"
        for name, content in ((path, text), ("core/view.hpp", view)):
            (include / name).parent.mkdir(parents=True, exist_ok=True)
            (include / name).write_text(content)
            (include / name).with_name("README.md").write_text("# A folder\n\nHolds headers.\n")
        return reference.Reference(include)

    def complaints(self, old="", new="", path="ops/twice.hpp"):
        self.assertIn(old, GOOD)
        text = GOOD.replace(old, new, 1) if old else GOOD
        return "\n".join(reference.lint(self.made(text, path), ROOT))

    def test_declarations(self):
        header = next(h for h in self.made(GOOD).headers if h.name == "twice.hpp")
        names = [(d.kind, d.name) for d in header.declarations]
        wanted = [("struct", "twice_op"), ("function", "twice"), ("function", "twice"),
                  ("struct", "range")]
        wanted += [("value", "whole"), ("concept", "ranged"), ("macro", "PLAIT_NOTHING")]
        self.assertEqual(names, wanted)
        self.assertEqual([m.name for m in header.declarations[3].members], ["range", "size", "first"])
        sentences = ["twice: … rows; expected at most nine", "plait: twice needs an execution policy"]
        self.assertEqual(header.sentences, sentences)

    def test_namespaces(self):
        for opening in ("namespace plait::inline PLAIT_ABI::ops {",
                        "namespace plait { inline namespace PLAIT_ABI { namespace ops {"):
            text = GOOD.replace("PLAIT_NAMESPACE_BEGIN\nnamespace ops {", opening)
            text = text.replace("PLAIT_NAMESPACE_END", "")
            header = next(h for h in self.made(text).headers if h.name == "twice.hpp")
            self.assertIn("whole", [d.name for d in header.declarations])
            self.assertNotIn("hidden", [d.name for d in header.declarations])

    def test_page(self):
        page = dict(self.made(GOOD).pages())["ops.md"]
        for part in (
            "## twice.hpp",
            "`#include <plait/ops/twice.hpp>`",
            "void twice(Exec& exec, matrix_view<float> x = {});\nvoid twice(int x);",
            "- **Equation**: x &lt;- 2 x",
            "[core/view.hpp](core.md#viewhpp)",
            "  int first = 0;  // where it begins",
            "- `size`: Its length.",
            "- `plait: twice needs an execution policy`",
        ):
            self.assertIn(part, page)
        self.assertEqual(page.count("`twice: … rows"), 1)  # quoted by Errors, not listed again
        self.assertNotIn("hidden", page)

    def test_good(self):
        self.assertEqual(self.complaints(), "")

    def test_bad(self):
        for old, new, said in (
            ("// One op.\n", "", "does not begin with a sentence"),
            ("/// A range.\n", "", "`range` has no /// block"),
            ("/// Nothing.\n", "", "`PLAIT_NOTHING` has no /// block"),
            ("/// Equation: x <- 2 x\n", "", "has no Equation"),
            ("/// Shapes: x [T, d]; see core/view.hpp\n", "", "has no Shapes"),
            ("/// Cost: T d operations\n", "", "has no Cost"),
            ("/// Source: none, it is elementary\n", "", "has no Source"),
            ("/// Test: tests/checks/docs/reference_test.py\n", "", "has no Test"),
            ("/// Cost: T d operations", "/// Cost:", "the item Cost is empty"),
            ("/// Cost: T d operations", "/// Costs: T d operations", "has no Cost"),
            ("docs/reference_test.py", "docs/no_test.py", "docs/no_test.py does not exist"),
            ("core/view.hpp", "core/viev.hpp", "core/viev.hpp, which is not a header"),
            ("… rows;", "… columns;", 'does not say "columns; expected at most nine"'),
        ):
            with self.subTest(said):
                self.assertIn(said, self.complaints(old, new))

    def test_bad_folder(self):
        made = self.made(GOOD)
        (made.include / "ops" / "README.md").unlink()
        self.assertIn("ops/ has no README.md", "\n".join(reference.lint(made, ROOT)))


if __name__ == "__main__":
    unittest.main()
