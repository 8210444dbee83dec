"""Deployments as earlier releases left them, one archive for each release that changed what is stored, made by
`make.py` of that day and never touched again: whoever runs that release has such a bucket."""
