from .render import Page as Page, render_page as render_page
