"""Addresses."""

from django.urls import path
from django.views.generic import RedirectView

from notes import views

urlpatterns = [
    path("", RedirectView.as_view(url="ada/")),
    path("<str:name>/", views.show, name="show"),
    path("<str:name>/add/", views.add, name="add"),
    path("<str:name>/delete/<int:pk>/", views.delete, name="delete"),
    path("<str:name>/copy/", views.copy, name="copy"),
]
