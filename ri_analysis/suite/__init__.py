"""A suite: one pretrained model, its experts, their tasks and the images to measure on."""

from ri_analysis.suite.images import ImageSet, sample, stratified
from ri_analysis.suite.instead import Instead, NotASuite
from ri_analysis.suite.spec import SuiteSpec, TaskSpec, read_spec
from ri_analysis.suite.suite import EMBEDDED, ORIGINAL, Suite, open_suite, resource_root, suite_path

__all__ = [
    "EMBEDDED",
    "ORIGINAL",
    "ImageSet",
    "Instead",
    "NotASuite",
    "Suite",
    "SuiteSpec",
    "TaskSpec",
    "open_suite",
    "read_spec",
    "resource_root",
    "sample",
    "stratified",
    "suite_path",
]
