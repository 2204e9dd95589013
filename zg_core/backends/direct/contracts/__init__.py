"""The contracts under the names that they had as long as only one backend used them: `zg_core.contracts`.

Each module here is the module there, for programs that name the earlier place.
"""
