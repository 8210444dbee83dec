"""`s4 tenant export` and `s4 tenant load`: a tenant as a directory, and a directory as a tenant.

layout   where what lies in an export, and what its manifest says; docs/reference/export-format.md is the same in prose
export   asks for everything, part by part, and notes what is there: an interrupted run goes on where it stopped
load     brings vectors, then documents; what is there already is not sent again
"""
