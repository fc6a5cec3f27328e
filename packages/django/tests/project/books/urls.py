from django.contrib import admin
from django.urls import path

from books import views

urlpatterns = [
    path("admin/", admin.site.urls),
    path("author/<int:pk>/", views.author),
    path("personal/", views.personal_by_default),
    path("dashboard/", views.dashboard),
    path("picky/<str:text>/", views.picky),
    path("strange/<str:kind>/", views.strange),
    path("absolute/", views.absolute),
    path("slowly/", views.slowly),
    path("page/<int:number>/", views.Page.as_view()),
    path("api/", views.Api.as_view()),
    path("api/function/", views.api_function),
]
